/* Paired tests of per-query values, as exabench.statistics has them: no page, no network, the same numbers each time. */
(function () {
  "use strict";

  var own = window.exabench = window.exabench || {};
  var FLIPS = 10000, SEED = 20240601, ALPHA = 0.05, BITS = 8, SIDE = 1 << BITS;

  /* -- distributions -------------------------------------------------------------------------------------- */

  /* ln Gamma(z) for z > 0: shifted up to where Stirling's series is exact in double precision. */
  function lnGamma(z) {
    var product = 1, square;
    while (z < 20) { product *= z; z += 1; }
    square = 1 / (z * z);
    return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) - Math.log(product)
      + (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / z;
  }

  /* Regularised incomplete beta function of x = share, where 1 - x = rest is given beside it so that neither is rounded. */
  function beta(share, rest, a, b) {
    if (share <= 0) { return 0; }
    if (rest <= 0) { return 1; }
    if (share > (a + 1) / (a + b + 2)) { return 1 - beta(rest, share, b, a); }
    var lnShare = share > 0.5 ? Math.log1p(-rest) : Math.log(share);
    var lnRest = rest > 0.5 ? Math.log1p(-share) : Math.log(rest);
    var front = Math.exp(a * lnShare + b * lnRest + lnGamma(a + b) - lnGamma(a) - lnGamma(b)) / a;
    return front / fraction(share, a, b);
  }

  /* The continued fraction of the incomplete beta function, from its front, by Lentz's method. */
  function fraction(x, a, b) {
    var tiny = 1e-300, value = 1, up = 1, down = 0, m, factor, step;
    for (var i = 1; i <= 20000; i += 1) {
      m = i >> 1;
      factor = i % 2 ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      down = 1 + factor * down;
      down = 1 / (Math.abs(down) < tiny ? tiny : down);
      up = 1 + factor / up;
      up = Math.abs(up) < tiny ? tiny : up;
      step = up * down;
      value *= step;
      if (Math.abs(step - 1) < 1e-16) { break; }
    }
    return value;
  }

  /* Two-sided p-value of Student's t. */
  function studentP(t, freedom) {
    var square = t * t;
    return square === Infinity ? 0 : beta(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5);
  }

  /* P(F >= value) with that many degrees of freedom above and below. */
  function fisherP(value, above, below) {
    if (value === Infinity) { return 0; }
    var all = below + above * value;
    return beta(below / all, above * value / all, below / 2, above / 2);
  }

  /* The argument at which a falling function reaches `wanted`. */
  function solve(falling, wanted) {
    var low = 0, high = 1, middle;
    while (falling(high) > wanted) { low = high; high *= 2; }
    for (var i = 0; i < 100 && high - low > 1e-14 * high; i += 1) {
      middle = (low + high) / 2;
      if (falling(middle) > wanted) { low = middle; } else { high = middle; }
    }
    return (low + high) / 2;
  }

  function density(z) { return Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI); }

  /* Standard normal distribution function. */
  function normal(z) {
    if (Math.abs(z) > 8) { return z > 0 ? 1 : 0; }
    var term = z, sum = z;
    for (var i = 3; Math.abs(term) > 1e-18; i += 2) { term *= z * z / i; sum += term; }
    return 0.5 + sum * density(z);
  }

  /* P(range of `count` standard normal values >= q), by Simpson's rule. */
  function rangeP(q, count) {
    var steps = 640, wide = 16 / steps, sum = 0;
    for (var i = 0; i <= steps; i += 1) {
      var z = -8 + wide * i, weight = i === 0 || i === steps ? 1 : i % 2 ? 4 : 2;
      sum += weight * density(z) * Math.pow(normal(z) - normal(z - q), count - 1);
    }
    return 1 - count * sum * wide / 3;
  }

  /* -- the randomisation test ----------------------------------------------------------------------------- */

  /* xoshiro128** (Blackman and Vigna 2018) from four words; 32 bits a call. */
  function xoshiro(state) {
    var a = state[0], b = state[1], c = state[2], d = state[3];
    return function () {
      var x = Math.imul(b, 5), given = Math.imul((x << 7) | (x >>> 25), 9), shifted = b << 9;
      c ^= a; d ^= b; b ^= c; a ^= d; c ^= shifted;
      d = (d << 11) | (d >>> 21);
      return given;
    };
  }

  /* Four words from one seed: a counter whose bits are mixed. */
  function words(seed) {
    return [1, 2, 3, 4].map(function (n) {
      var z = (seed + Math.imul(n, 0x9e3779b9)) | 0;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    });
  }

  /* Share of 10,000 sign assignments whose sum is at least as far from 0 as the observed one, which counts too.
     A term of 0 has no sign and is left out. The signs of 32 terms are one draw, and the sums of each eight of them
     stand in a table. */
  function randomisation(terms) {
    var kept = terms.filter(function (term) { return term !== 0; });
    var limit = Math.abs(sum(terms)) - 1e-12, next = xoshiro(words(SEED)), extreme = 0;
    var totals = new Float64Array(FLIPS), table = new Float64Array(4 * SIDE), flip, bits;
    for (var from = 0; from < kept.length; from += 4 * BITS) {
      fill(table, kept, from);
      for (flip = 0; flip < FLIPS; flip += 1) {
        bits = next();
        totals[flip] += table[bits & 255] + table[SIDE + (bits >>> 8 & 255)] + table[2 * SIDE + (bits >>> 16 & 255)]
          + table[3 * SIDE + (bits >>> 24)];
      }
    }
    for (flip = 0; flip < FLIPS; flip += 1) { extreme += Math.abs(totals[flip]) >= limit ? 1 : 0; }
    return (extreme + 1) / (FLIPS + 1);
  }

  function fill(table, terms, from) {
    for (var place = 0; place < 4 * SIDE; place += 1) {
      var first = from + BITS * (place >> BITS), total = 0;
      for (var bit = 0; bit < BITS && first + bit < terms.length; bit += 1) {
        total += place >> bit & 1 ? terms[first + bit] : -terms[first + bit];
      }
      table[place] = total;
    }
  }

  /* -- paired tests --------------------------------------------------------------------------------------- */

  /* A sum that loses nothing that counts (Neumaier). */
  function sum(values) {
    var total = 0, lost = 0;
    for (var i = 0; i < values.length; i += 1) {
      var next = total + values[i];
      lost += Math.abs(total) >= Math.abs(values[i]) ? (total - next) + values[i] : (values[i] - next) + total;
      total = next;
    }
    return total + lost;
  }

  function mean(values) { return sum(values) / values.length; }

  /* Variance of a sample, 0 for a sample of one. */
  function variance(values) {
    var middle = mean(values);
    return values.length < 2 ? 0
      : sum(values.map(function (value) { return (value - middle) * (value - middle); })) / (values.length - 1);
  }

  /* The values of one task that is the mean of several collections: one array, weighted so that its mean is theirs. */
  function joined(parts) {
    var all = sum(parts.map(function (part) { return part.length; })), whole = [];
    parts.forEach(function (part) {
      part.forEach(function (value) { whole.push(value * (all / (parts.length * part.length))); });
    });
    return Float64Array.from(whole);
  }

  /* A against B: one array of values for each task. With `flips` also the randomisation test, otherwise null there. */
  function pairedTest(a, b, flips) {
    var tasks = a.map(function (values, i) {
      return Float64Array.from(values, function (value, j) { return value - b[i][j]; });
    });
    var every = [], terms = [];
    tasks.forEach(function (task) {
      task.forEach(function (value) { every.push(value); terms.push(value / (task.length * tasks.length)); });
    });
    var observed = sum(terms), spread = Math.sqrt(variance(every));
    var student = studentTest(tasks, observed);
    return {
      queries: every.length, difference: observed, interval: student.interval, t_test: student.p,
      randomisation: flips ? randomisation(terms) : null, effect_size: spread ? mean(every) / spread : 0,
      wins: every.filter(function (value) { return value > 0; }).length,
      losses: every.filter(function (value) { return value < 0; }).length,
      ties: every.filter(function (value) { return value === 0; }).length
    };
  }

  /* Student's paired test; over several tasks the variance of the mean of means with Welch and Satterthwaite's freedom. */
  function studentTest(tasks, observed) {
    var parts = tasks.filter(function (task) { return task.length > 1; }).map(function (task) {
      return { v: variance(task) / task.length / (tasks.length * tasks.length), n: task.length - 1 };
    });
    var whole = sum(parts.map(function (part) { return part.v; }));
    if (!(whole > 0)) {
      return { p: observed === 0 || !parts.length ? 1 : 0, interval: parts.length ? [observed, observed] : null };
    }
    var freedom = whole * whole / sum(parts.map(function (part) { return part.v * part.v / part.n; }));
    var room = Math.sqrt(whole) * solve(function (t) { return studentP(t, freedom); }, ALPHA);
    return { p: studentP(observed / Math.sqrt(whole), freedom), interval: [observed - room, observed + room] };
  }

  /* Holm's step-down correction (1979), in the order given. */
  function holm(given) {
    var adjusted = [], largest = 0;
    var order = given.map(function (p, i) { return i; }).sort(function (i, j) { return given[i] - given[j] || i - j; });
    order.forEach(function (i, rank) {
      largest = Math.max(largest, Math.min(1, (given.length - rank) * given[i]));
      adjusted[i] = largest;
    });
    return adjusted;
  }

  /* -- several systems on several tasks ------------------------------------------------------------------- */

  /* Ranks of the values of one task, 1 the highest; equal values share the mean of their ranks. */
  function ranks(values) {
    return values.map(function (value) {
      var above = values.filter(function (other) { return other > value; }).length;
      var same = values.filter(function (other) { return other === value; }).length;
      return above + (same + 1) / 2;
    });
  }

  /* Friedman's test of a table (a line for each task, a value for each system), corrected for ties, as Iman and
     Davenport's F; and the critical difference of mean ranks (Nemenyi). */
  function friedman(table) {
    var n = table.length, k = table[0].length, ranked = table.map(ranks), tied = 0, square;
    var means = table[0].map(function (_, i) { return mean(ranked.map(function (line) { return line[i]; })); });
    table.forEach(function (line) {
      new Set(line).forEach(function (value) {
        var same = line.filter(function (other) { return other === value; }).length;
        tied += same * same * same - same;
      });
    });
    square = 12 * n / (k * (k + 1)) * sum(means.map(function (r) { return (r - (k + 1) / 2) * (r - (k + 1) / 2); }));
    var apart = 1 - tied / (n * k * (k * k - 1));
    square = apart > 0 ? square / apart : 0;
    var rest = n * (k - 1) - square, f = rest > 1e-9 ? (n - 1) * square / rest : Infinity;
    var q = solve(function (x) { return rangeP(x, k); }, ALPHA);
    return {
      tasks: n, means: means, square: square, p: fisherP(f, k - 1, (k - 1) * (n - 1)),
      critical: q / Math.SQRT2 * Math.sqrt(k * (k + 1) / (6 * n))
    };
  }

  own.paired = {
    FLIPS: FLIPS, SEED: SEED, ALPHA: ALPHA, studentP: studentP, fisherP: fisherP, rangeP: rangeP, xoshiro: xoshiro,
    randomisation: randomisation, pairedTest: pairedTest, holm: holm, friedman: friedman,
    mean: mean, joined: joined
  };
}());
