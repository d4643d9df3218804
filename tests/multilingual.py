"""One small collection in five languages, sentence by sentence the same: what is counted in one is counted in all.

Each of eight subjects has two sentences and a question. A `d` passage is all sixteen sentences, from those of its
subject on, in steps of its own, so that no two passages have the same sentence behind another; an `n` passage is a `d`
passage with a number in front, and a `t` passage is the two sentences of a subject.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from toys import Given, write_beir

from exabench.core.nouns import Passage, Query

SUBJECTS = 8
NEAR = 4
"""How many `n` passages there are."""

SENTENCES = {
    "en": """
The heart pumps about five litres of blood every minute.
Arteries carry the blood to all parts of the body.
Cooked rice keeps for three days in a closed box.
After that bacteria may have made poison in it.
Stainless steel holds at least a tenth of chromium.
A thin layer of oxide keeps the metal from rusting.
The underground runs from five in the morning until midnight.
At weekends its trains go through the whole night.
Wild yeast makes the dough of a sourdough loaf rise.
Bacteria give the loaf the acid that we taste.
Air scatters blue light more strongly than red light.
That is why the sky looks blue at noon.
The deck of a suspension bridge hangs from two cables.
Two high towers carry the whole weight of it.
Bees dance to show the others where flowers are.
The angle of the dance tells the direction to fly.
""",
    "zh": """
心脏每分钟大约泵出五升血液。
动脉把血液送到身体的每一个部分。
煮熟的米饭在密闭盒子里能放三天。
三天以后细菌可能已经在里面产生毒素。
不锈钢里至少有十分之一的铬元素。
一层很薄的氧化膜保护金属不会生锈。
地铁列车从早上五点一直运行到午夜。
到了周末列车会整夜不停地继续运行。
野生酵母让酸面团在夜里慢慢地发起来。
乳酸菌给面包带来我们尝到的酸味道。
空气散射蓝光的能力比散射红光强得多。
所以中午的天空在我们眼里是蓝色的。
悬索桥的桥面挂在两根粗大的钢缆上。
两座高高的桥塔承担着全部的重量。
蜜蜂用舞蹈告诉同伴哪里有很多花朵。
舞蹈的角度说明应该朝哪个方向飞行。
""",
    "ja": """
心臓は一分間におよそ五リットルの血液を送り出す。
動脈は血液を体のすべての部分へ運んでいく。
炊いたご飯は密閉した箱の中で三日ほどもつ。
そのあとは細菌が毒素を作っているかもしれない。
ステンレス鋼は少なくとも一割のクロムを含む。
薄い酸化物の膜が金属をさびから守っている。
地下鉄は朝の五時から真夜中まで走っている。
週末になると電車は一晩中休まずに走り続ける。
野生の酵母がサワードウの生地をふくらませる。
乳酸菌がパンに私たちの感じる酸味を与える。
空気は赤い光よりも青い光を強く散らばらせる。
だから昼間の空は私たちの目に青く見える。
つり橋の道は二本の太いケーブルからつり下がる。
二つの高い塔がその重さのすべてを支えている。
ミツバチは踊って花のある場所を仲間に教える。
踊りの角度が飛んでいく方向を教えてくれる。
""",
    "th": """
หัวใจสูบฉีดเลือดประมาณห้าลิตรทุกนาที
หลอดเลือดแดงพาเลือดไปยังทุกส่วนของร่างกาย
ข้าวสุกเก็บไว้ในกล่องปิดสนิทได้สามวัน
หลังจากนั้นแบคทีเรียอาจสร้างสารพิษแล้ว
เหล็กกล้าไร้สนิมมีโครเมียมอย่างน้อยหนึ่งในสิบ
ชั้นออกไซด์บางๆช่วยป้องกันโลหะไม่ให้เป็นสนิม
รถไฟใต้ดินวิ่งตั้งแต่ตีห้าจนถึงเที่ยงคืน
วันหยุดสุดสัปดาห์รถไฟวิ่งตลอดทั้งคืน
ยีสต์ธรรมชาติทำให้แป้งขนมปังเปรี้ยวพองตัว
แบคทีเรียให้รสเปรี้ยวที่เราสัมผัสได้แก่ขนมปัง
อากาศกระจายแสงสีน้ำเงินได้แรงกว่าแสงสีแดง
ดังนั้นท้องฟ้าตอนกลางวันจึงดูเป็นสีฟ้า
พื้นสะพานแขวนห้อยอยู่กับสายเคเบิลสองเส้น
หอคอยสูงสองต้นรับน้ำหนักทั้งหมดของสะพาน
ผึ้งเต้นรำเพื่อบอกเพื่อนว่าดอกไม้อยู่ที่ไหน
มุมของการเต้นรำบอกทิศทางที่ต้องบินไป
""",
    "ar": """
يضخ القلب نحو خمسة لترات من الدم في كل دقيقة.
تحمل الشرايين الدم إلى جميع أجزاء الجسم دون توقف.
يبقى الأرز المطبوخ صالحا ثلاثة أيام في علبة مغلقة.
بعد ذلك قد تكون البكتيريا صنعت فيه مادة سامة.
يحتوي الفولاذ المقاوم للصدأ على العشر من الكروم تقريبا.
طبقة رقيقة من الأكسيد تحمي هذا المعدن من الصدأ.
تسير قطارات الأنفاق من الخامسة صباحا حتى منتصف الليل.
في نهاية الأسبوع تسير القطارات طوال الليل دون انقطاع.
تجعل الخميرة البرية عجين الخبز الحامض ينتفخ ببطء شديد.
تعطي البكتيريا الخبز الطعم الحامض الذي نحس به دائما.
يشتت الهواء الضوء الأزرق أقوى بكثير من الضوء الأحمر.
لهذا السبب تبدو السماء زرقاء في عيوننا عند الظهر.
يتدلى سطح الجسر المعلق من كابلين كبيرين من الفولاذ.
برجان عاليان يحملان وزن الجسر كله طوال هذه السنين.
يرقص النحل ليخبر بقية النحل أين توجد الأزهار الكثيرة.
زاوية الرقصة تدل على الاتجاه الذي يجب الطيران نحوه.
""",
}
QUESTIONS = {
    "en": """
how much blood does the heart pump
how long does cooked rice keep
why does stainless steel not rust
when does the underground run
what makes sourdough rise
why is the sky blue
what holds up a suspension bridge
how do bees tell where flowers are
""",
    "zh": """
心脏一分钟能泵多少血？
煮好的米饭可以放多久？
为什么不锈钢不容易生锈？
地铁几点开始和停止运行？
酸面包的面团怎么会发起来？
天空为什么看起来是蓝的？
是什么撑起了一座悬索桥？
蜜蜂怎样告诉同伴花在哪儿？
""",
    "ja": """
心臓は一分でどれだけの血を送るのか？
炊いたご飯は何日もちますか？
なぜステンレスはさびないのですか？
地下鉄は何時から何時まで動きますか？
サワードウはどうしてふくらむの？
空はどうして青く見えるのですか？
つり橋は何に支えられていますか？
ハチはどうやって花の場所を知らせる？
""",
    "th": """
หัวใจสูบฉีดเลือดได้เท่าไรในหนึ่งนาที
ข้าวสุกเก็บไว้ได้นานแค่ไหน
ทำไมสเตนเลสจึงไม่ขึ้นสนิม
รถไฟใต้ดินเปิดให้บริการกี่โมง
อะไรทำให้ขนมปังเปรี้ยวพองขึ้น
ทำไมท้องฟ้าจึงมีสีฟ้า
อะไรรับน้ำหนักของสะพานแขวน
ผึ้งบอกทางไปหาดอกไม้อย่างไร
""",
    "ar": """
كم لترا من الدم يضخ القلب؟
كم يوما يبقى الأرز المطبوخ صالحا؟
لماذا لا يصدأ الفولاذ المقاوم للصدأ؟
متى تسير قطارات الأنفاق؟
ما الذي يجعل الخبز الحامض ينتفخ؟
لماذا تبدو السماء زرقاء اللون؟
ما الذي يحمل الجسر المعلق؟
كيف يخبر النحل عن مكان الأزهار؟
""",
}
WORD = {"en": "heart", "zh": "心脏", "ja": "心臓", "th": "หัวใจ", "ar": "القلب"}
"""One word of each language, too short for a query."""

# Between sentences, and between the repeated words of a bad answer.
GAP = {"en": " ", "zh": "", "ja": "", "th": " ", "ar": " "}
WORD_GAP = {"en": " ", "zh": "", "ja": "", "th": "", "ar": " "}
# The same text as another typist writes it: capitals, a radical, decomposed letters, spaces of no width, vowel signs.
REWRITTEN = {
    "en": str.upper,
    "zh": lambda text: text.replace("行", "⾏").replace("。", "．"),
    "ja": lambda text: unicodedata.normalize("NFD", text).replace("。", "｡ "),
    "th": lambda text: text.replace("วัน", "\u200bวัน"),
    "ar": lambda text: text.replace("الليل", "اللَّيْل").replace("في", "فـــي"),
}


def sentences_of(language: str) -> list[str]:
    return SENTENCES[language].strip().splitlines()


def questions_of(language: str) -> list[str]:
    return QUESTIONS[language].strip().splitlines()


def order(subject: int) -> list[int]:
    """The places of the sentences in the `d` passage of a subject: an odd step reaches all sixteen."""
    return [(2 * subject + place * (2 * subject + 1)) % 16 for place in range(16)]


def passages(language: str) -> list[Passage]:
    said = sentences_of(language)
    found = []
    for subject in range(SUBJECTS):
        text = GAP[language].join(said[place] for place in order(subject))
        found.append(Passage(f"d{subject}", text))
        found.append(Passage(f"t{subject}", GAP[language].join(said[2 * subject : 2 * subject + 2])))
        if subject < NEAR:
            found.append(Passage(f"n{subject}", f"(7)\n\n{text}"))
    return found


def two_sentences(language: str, subject: int, place: int) -> str:
    """Two sentences in a row, from this place on, as only the long passages of the subject have them."""
    said = sentences_of(language)
    return GAP[language].join(said[each] for each in order(subject)[place : place + 2])


def write_collections(data: Path, language: str) -> None:
    """The collection as the task `notes`, and the benchmark `quiz`, which quotes subject 2 and asks question 3.

    The benchmark's other passage has a single sentence of the collection, which is too little for a leak.
    """
    first = Query("q", questions_of(language)[0])
    write_beir(data / "notes", Given([first], passages(language), {"q": {"d0": 1}}))
    quoted = REWRITTEN[language](two_sentences(language, 2, 6))
    single = f"{sentences_of(language)[5]} 1 2 3"
    held = [Passage("long", f"1 2 3 {quoted} 4 5 6"), Passage("short", single)]
    asked = [Query("x", questions_of(language)[3]), Query("y", "4 5 6 7")]
    write_beir(data / "quiz", Given(asked, held, {"x": {"long": 1}, "y": {"short": 1}}))
    for name, benchmark in (("notes", "false"), ("quiz", "true")):
        (data / name / "task.toml").write_text(f'language = "{language}"\nbenchmark = {benchmark}\n')
