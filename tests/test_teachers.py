"""Teachers answer every prompt once, count tokens, keep secrets, and give up in one line and in bounded time."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from endpoint import Act, Endpoint, Handler, completion, serving
from models import t5_folder, t5_tokenizer
from tiny_llama import TEMPLATE, tiny_llama

from exabench.core import http
from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Prompt, Reply
from exabench.parts.teachers import TEACHERS
from exabench.parts.teachers.openai import HOPELESS

CANARY = "sk-canary-0123456789abcdef"


def prompt(id: str, text: str = "the heart of a bat", **options: Any) -> Prompt:
    return Prompt(id, (("system", "Answer."), ("user", text)), **{"max_tokens": 12, **options})


PROMPTS = [prompt(f"p{i}", "the heart of " + "a bat " * (i * 5 % 13), max_tokens=8 + 8 * (i % 2)) for i in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny") / "llama", positions=256)


@pytest.fixture(scope="module")
def local(folder: Path) -> Any:
    return TEACHERS["transformers"](str(folder))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "llama"))


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_batch_answers_as_one_prompt_alone_does_and_as_generate_does(local: Any, folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    together = {reply.id: reply for reply in local.complete(PROMPTS)}
    assert len(together) == len(PROMPTS)
    for one in PROMPTS:
        assert list(local.complete([one])) == [together[one.id]]
        text = f"<|system|>Answer.<|end|><|user|>{one.turns[1][1]}<|end|><|assistant|>"
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        written = model.generate(ids, max_new_tokens=one.max_tokens, do_sample=False)[0, ids.shape[1] :].tolist()
        finish = "stop" if written[-1] == tokenizer.eos_token_id else "length"
        answer = tokenizer.decode(written, skip_special_tokens=True)
        assert together[one.id] == Reply(one.id, answer, finish, ids.shape[1], len(written))
    assert {reply.finish for reply in together.values()} == {"stop", "length"}
    small = TEACHERS["transformers"](str(folder), batch_tokens=1)
    assert {reply.id: reply for reply in small.complete(PROMPTS)} == together


def test_prompts_are_read_as_they_are_answered(local: Any) -> None:
    source = (prompt(f"p{i}", max_tokens=1) for i in range(600))
    assert next(local.complete(source)).output_tokens == 1
    assert next(source).id == "p512"


def test_what_does_not_fit_is_refused_when_the_others_are_answered(local: Any) -> None:
    long = [prompt("long", "heart " * 300), prompt("longer", "heart " * 400)]
    replies = local.complete([long[0], PROMPTS[0], long[1], PROMPTS[1]])
    assert {next(replies).id, next(replies).id} == {"p0", "p1"}
    with pytest.raises(BadInput, match=r"^prompt 'long' and 1 more cannot be sent: \d+ tokens and 12 for .* 256"):
        next(replies)


def test_samples_differ_by_number_and_seed_and_repeat_by_their_prompt(local: Any, folder: Path) -> None:
    asked = [prompt(f"s{i}", temperature=1.0, sample=i) for i in range(6)]
    state = torch.random.get_rng_state()
    texts = [[reply.text for reply in local.complete([one])] for one in asked]
    assert [[reply.text for reply in local.complete([replace(one, id="x")])] for one in asked] == texts
    assert len({text for [text] in texts}) == 6
    assert torch.equal(state, torch.random.get_rng_state())
    [other] = TEACHERS["transformers"](str(folder), seed=1).complete(asked[:1])
    assert other.text != texts[0][0]


def test_an_encoder_decoder_is_a_teacher_too(tmp_path: Path) -> None:
    folder = t5_folder(tmp_path / "t5", t5_tokenizer())
    teacher = TEACHERS["transformers"](str(folder))
    together = {reply.id: reply for reply in teacher.complete(PROMPTS)}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    for one in PROMPTS[:4]:
        ids = tokenizer("\n\n".join(text for _, text in one.turns), return_tensors="pt")
        written = model.generate(**ids, max_new_tokens=one.max_tokens, do_sample=False)[0, 1:].tolist()
        reply = together[one.id]
        assert reply.text == tokenizer.decode(written, skip_special_tokens=True)
        assert (reply.prompt_tokens, reply.output_tokens) == (ids.input_ids.shape[1], len(written))
    assert teacher.identity["template"] == "plain"


def test_generation_habits_of_a_checkpoint_do_not_change_an_answer(local: Any, copied: Path) -> None:
    habits = {"do_sample": True, "temperature": 9.0, "top_k": 3, "repetition_penalty": 5.0, "max_length": 30}
    changed(copied / "generation_config.json", **habits)
    replies = list(TEACHERS["transformers"](str(copied)).complete(PROMPTS))
    assert replies == list(local.complete(PROMPTS))


def test_the_identity_says_model_revision_precision_and_template(local: Any, folder: Path) -> None:
    assert local.identity["model"] == str(folder) and local.identity["revision"].startswith("sha256:")
    assert local.identity["precision"] == "float32" and local.identity["template"].startswith("sha256:")
    assert json.loads(json.dumps(local.identity)) == local.identity
    assert local.config["model_type"] == "llama" and local.parameters > 100_000
    assert TEACHERS["transformers"](str(folder), precision="bfloat16").identity["precision"] == "bfloat16"


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def missing_weights(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_tokenizer, "has no tokenizer"),
        (lambda folder: changed(folder / "config.json", model_type="tomorrow"), "cannot be loaded as a language model"),
        (missing_weights, "has no weights for model.norm.weight: it is not a language model"),
    ],
    ids=["no tokenizer", "unknown architecture", "missing weights"],
)
def test_a_folder_that_is_no_language_model_is_one_line(
    copied: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(copied)
    with pytest.raises(BadInput, match=said) as told:
        TEACHERS["transformers"](str(copied))
    assert "\n" not in str(told.value)


def test_a_template_without_system_turns_gets_the_text_with_the_first_user_turn(local: Any, copied: Path) -> None:
    template = copied / "chat_template.jinja"
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refusing + TEMPLATE)
    [reply] = TEACHERS["transformers"](str(copied)).complete([prompt("p", "why?")])
    assert [reply] == list(local.complete([replace(prompt("p"), turns=(("user", "Answer.\n\nwhy?"),))]))
    template.write_text("{{ raise_exception('roles must\\nalternate') }}")
    with pytest.raises(BadInput, match=r"template refuses the prompt: \w+: roles must \(id 'p'\)"):
        list(TEACHERS["transformers"](str(copied)).complete([prompt("p")]))


@pytest.fixture(autouse=True)
def _short_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.02)


def text_of(body: Any) -> str:
    return str(body["messages"][-1]["content"])


def good(server: Endpoint, handler: Handler, body: Any) -> None:
    handler.send(200, completion(body))


def teacher(server: Endpoint | str, **options: Any) -> Any:
    url = server if isinstance(server, str) else server.url
    return TEACHERS["openai"]("m", base_url=url, **{"timeout": 5.0, "retries": 2, "concurrency": 8, **options})


def asked(count: int) -> list[Prompt]:
    return [prompt(f"p{i}", f"text {i}") for i in range(count)]


def once(act: Act) -> Act:
    """`act` at the first try of each prompt, afterwards all is well."""
    return lambda server, handler, body: (act if server.tries[str(body)] == 1 else good)(server, handler, body)


def error(status: int, message: str, code: str = "", **headers: str) -> Act:
    """Nothing but this error."""
    return lambda server, handler, body: handler.send(status, {"error": {"message": message, "code": code}}, **headers)


def test_many_requests_are_in_flight_and_each_reply_finds_its_prompt_packed_or_not() -> None:
    def slow(server: Endpoint, handler: Handler, body: Any) -> None:
        number = int(text_of(body).split()[1])
        time.sleep(0.02 * (number % 3))
        if number % 2:
            return good(server, handler, body)
        handler.send(200, gzip.compress(json.dumps(completion(body)).encode()), content_encoding="gzip")

    with serving(slow) as server:
        replies = {reply.id: reply for reply in teacher(server).complete(asked(60))}
    assert replies == {
        one.id: Reply(one.id, one.turns[1][1][::-1], "stop", len(one.turns[1][1]), 3) for one in asked(60)
    }
    assert 2 <= server.most_open <= 8 and len(server.seen) == 60


def test_the_request_is_what_the_prompt_says() -> None:
    with serving(good) as server:
        list(teacher(server).complete([prompt("a", "why?"), prompt("b", "why?", temperature=0.5, sample=2)]))
    greedy, sampled = sorted((body for _, body in server.asked), key=lambda body: body["temperature"])
    turns = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "why?"}]
    assert greedy == {"model": "m", "messages": turns, "max_tokens": 12, "temperature": 0.0}
    assert sampled == {**greedy, "temperature": 0.5, "seed": 1126977050}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(error(500, "oops"), id="500"),
        pytest.param(lambda s, h, b: h.send(503, b"<html>down</html>", content_type="text/html"), id="503"),
        pytest.param(lambda s, h, b: h.send(200, b'{"choices": ['), id="torn JSON"),
        pytest.param(lambda s, h, b: h.send(200, {"choices": []}), id="no choice"),
        pytest.param(lambda s, h, b: h.hang_up(), id="hang up"),
        pytest.param(lambda s, h, b: time.sleep(0.5), id="hang"),
    ],
)
def test_a_passing_trouble_is_tried_again_and_a_lasting_one_ends_in_one_line(trouble: Act) -> None:
    with serving(once(trouble)) as server:
        replies = list(teacher(server, timeout=0.3).complete(asked(5)))
        assert {reply.id for reply in replies} == {f"p{i}" for i in range(5)} and set(server.tries.values()) == {2}
    started = time.monotonic()
    with (
        serving(trouble) as server,
        pytest.raises(OutsideFailed, match=rf"^{server.url} gave no answer to prompt 'p\d' after 2 tries") as told,
    ):
        list(teacher(server, timeout=0.3, retries=1).complete(asked(5)))
    assert time.monotonic() - started < 6 and "\n" not in str(told.value) and len(str(told.value)) < 400


def test_nobody_there_is_one_line_in_bounded_time() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    started = time.monotonic()
    with pytest.raises(OutsideFailed, match=rf"^{url} gave no answer .* after 2 tries .*onnect.*; is it running\?$"):
        list(teacher(url, retries=1).complete(asked(50)))
    assert time.monotonic() - started < 5


def test_a_server_that_dies_in_the_middle_leaves_what_was_answered() -> None:
    def dying(server: Endpoint, handler: Handler, body: Any) -> None:
        good(server, handler, body) if len(server.seen) <= 20 else time.sleep(1)

    started = time.monotonic()
    with serving(dying) as server:
        replies = teacher(server, timeout=0.5, retries=1, concurrency=4).complete(asked(100))
        answered = []
        with pytest.raises(OutsideFailed, match="gave no answer"):
            for reply in replies:
                answered.append(reply.id)
    assert len(set(answered)) == len(answered) == 20 and time.monotonic() - started < 12
    assert len(server.seen) <= 20 + (HOPELESS + 4) * 2, "after so many prompts in a row that failed nobody asks more"


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_given_up_and_never_held(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1 << 20)
    bomb = gzip.compress(bytes(1 << 27))

    def endless(server: Endpoint, handler: Handler, body: Any) -> None:
        if packed:
            return handler.send(200, bomb, content_encoding="gzip")
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    tracemalloc.start()
    started = time.monotonic()
    with serving(endless) as server, pytest.raises(OutsideFailed, match="an answer of more than 1,048,576 bytes"):
        list(teacher(server, retries=0).complete(asked(3)))
    assert time.monotonic() - started < 3 and tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_a_retry_after_that_says_nothing_is_no_trouble() -> None:
    said = ["soon", "-1", "nan", "Wed, 99 Foo 99999 99:99:99 GMT", "\t"]

    def limited(server: Endpoint, handler: Handler, body: Any) -> None:
        after = said[int(text_of(body).split()[1])]
        handler.send(429, {"error": {"message": "slow"}}, retry_after=after)

    with serving(once(limited)) as server:
        assert len(list(teacher(server).complete(asked(len(said))))) == len(said)
    assert set(server.tries.values()) == {2}


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_429_makes_everybody_wait_and_uses_up_no_retries(form: str) -> None:
    until: list[float] = []

    def limited(server: Endpoint, handler: Handler, body: Any) -> None:
        with server.lock:
            if len(server.seen) >= 12 and not until:
                until.append(time.monotonic() + 0.6)
        if not until or time.monotonic() >= until[0]:
            return good(server, handler, body)
        # A date has whole seconds: the pause is one of them at least.
        after = {"seconds": "0.7", "date": formatdate(time.time() + 2, usegmt=True), "none": ""}[form]
        handler.send(429, {"error": {"message": "slow down"}}, **({"retry_after": after} if after else {}))

    with serving(limited) as server:
        replies = list(teacher(server, retries=0, concurrency=4).complete(asked(40)))
    assert len({reply.id for reply in replies}) == 40
    if form != "none":
        early = [at for at in server.seen if until[0] - 0.4 < at < until[0]]
        assert early == [], "the cool-down is shared"
        assert len(server.seen) <= 40 + 4


@pytest.mark.parametrize(
    ("limit", "said", "most"),
    [
        (error(429, "slow down", retry_after="3600"), "after 1 try .last: 429 slow down", 9),
        (error(429, "now", retry_after="0"), r"after [4-9] tries .last: 429 now", 100),
        (error(429, "pay first", code="insufficient_quota"), "no quota left .*pay first", 9),
    ],
    ids=["an hour", "at once", "no quota"],
)
def test_a_limit_that_does_not_end_is_one_line_in_bounded_time(limit: Act, said: str, most: int) -> None:
    started = time.monotonic()
    with serving(limit) as server, pytest.raises(OutsideFailed, match=said):
        list(teacher(server, patience=1.0).complete(asked(9)))
    assert time.monotonic() - started < 5 and len(server.seen) <= most


def test_a_prompt_that_the_server_refuses_does_not_stop_the_others() -> None:
    def choosy(server: Endpoint, handler: Handler, body: Any) -> None:
        if text_of(body) in ("text 3", "text 7"):
            return handler.send(400, {"error": {"message": "maximum context length is 10 tokens"}})
        good(server, handler, body)

    with serving(choosy) as server:
        replies = teacher(server).complete(asked(30))
        assert len({reply.id for reply in islice(replies, 28)} | {"p3", "p7"}) == 30
        with pytest.raises(BadInput, match=r"^prompt 'p[37]' and 1 more cannot be sent: .*maximum context length"):
            next(replies)


def test_a_server_that_refuses_everything_is_not_asked_everything() -> None:
    with serving(error(400, "no max_tokens here")) as server, pytest.raises(BadInput, match="no max_tokens here"):
        list(teacher(server).complete(asked(500)))
    assert len(server.seen) < 60


def test_a_wrong_key_is_said_at_once_and_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)

    def refuses(server: Endpoint, handler: Handler, body: Any) -> None:
        handler.send(401, {"error": {"message": f"wrong key {handler.headers['authorization']}"}})

    with serving(refuses) as server, pytest.raises(BadInput, match=r"refuses: .*\*\*\*.*check base_url") as told:
        list(teacher(server, api_key_env="OPENAI_API_KEY").complete(asked(9)))
    assert CANARY not in str(told.value) and len(server.seen) <= 8


def test_the_key_goes_to_the_server_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    monkeypatch.setenv("OTHER_KEY", CANARY)
    with serving(good) as server:
        made = teacher(server, api_key_env="OTHER_KEY")
        assert len(list(made.complete(asked(3)))) == 3
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {CANARY}"}
    assert CANARY.encode() not in pickle.dumps(vars(made)) and CANARY not in json.dumps(made.identity)
    assert CANARY not in caplog.text and CANARY not in "".join(capfd.readouterr())


def test_a_server_elsewhere_needs_a_key_and_one_here_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("sk-a\udcff", "sk-\u00e9", "sk-a\nb"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(BadInput, match="OPENAI_API_KEY contains a character that no key has") as refused:
            TEACHERS["openai"]("m")
        assert "sk-" not in str(refused.value)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(BadInput, match="needs a key: set the environment variable OPENAI_API_KEY"):
        TEACHERS["openai"]("m")
    for url in ("http://localhost:1/v1", "http://127.0.0.9:1/v1", "http://[::1]:1/v1"):
        assert TEACHERS["openai"]("m", base_url=url).config is None
    for url in (f"http://user:{CANARY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={CANARY}", "here", ""):
        with pytest.raises(BadInput, match="base_url must be http") as told:
            TEACHERS["openai"]("m", base_url=url)
        assert CANARY not in str(told.value), "a url with a key in it is refused without saying it"


def test_a_reader_that_stops_reading_leaves_no_request_behind() -> None:
    threads = threading.active_count()
    with serving(good) as server:
        replies = teacher(server).complete(asked(1000))
        assert next(replies).text
        replies.close()
        time.sleep(0.2)  # what was under way arrives
        asked_so_far = len(server.seen)
        time.sleep(0.2)
        assert len(server.seen) == asked_so_far < 100
    assert threading.active_count() <= threads


@pytest.mark.parametrize("status", [403, 404])
def test_a_wrong_model_is_said_at_once(status: int) -> None:
    said = rf"refuses: {status} no such model.*check base_url"
    with serving(error(status, "no such model")) as server, pytest.raises(BadInput, match=said):
        list(teacher(server).complete(asked(40)))
    assert len(server.seen) < 40
