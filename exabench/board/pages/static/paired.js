/* The paired t-test of per-query values, as exabench.measure.statistics computes it. */
(() => {
  "use strict";

  const exabench = globalThis.exabench = globalThis.exabench || {};
  const ALPHA = 0.05;
  const ROUNDING = 1e-12; // a difference up to this is none, as in exabench.measure.statistics

  /* ln Gamma(z) for z > 0: shifted up to where Stirling's series is exact in double precision. */
  function lnGamma(z) {
    let product = 1;
    for (; z < 20; z += 1) { product *= z; }
    const square = 1 / (z * z);
    return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) - Math.log(product)
      + (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / z;
  }

  /* Regularised incomplete beta function of `share`; 1 - share is given beside it so that neither is rounded. */
  function beta(share, rest, a, b) {
    if (share <= 0) { return 0; }
    if (rest <= 0) { return 1; }
    if (share > (a + 1) / (a + b + 2)) { return 1 - beta(rest, share, b, a); }
    const lnShare = share > 0.5 ? Math.log1p(-rest) : Math.log(share);
    const lnRest = rest > 0.5 ? Math.log1p(-share) : Math.log(rest);
    const front = Math.exp(a * lnShare + b * lnRest + lnGamma(a + b) - lnGamma(a) - lnGamma(b)) / a;
    return front / fraction(share, a, b);
  }

  /* The continued fraction of the incomplete beta function, from its front, by Lentz's method. */
  function fraction(x, a, b) {
    const tiny = 1e-300;
    let value = 1, up = 1, down = 0;
    for (let i = 1; i <= 20000; i += 1) {
      const m = i >> 1;
      const factor = i % 2 ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      down = 1 + factor * down;
      down = 1 / (Math.abs(down) < tiny ? tiny : down);
      up = 1 + factor / up;
      up = Math.abs(up) < tiny ? tiny : up;
      value *= up * down;
      if (Math.abs(up * down - 1) < 1e-16) { break; }
    }
    return value;
  }

  /* Two-sided p-value of Student's t. */
  function studentP(t, freedom) {
    const square = t * t;
    return square === Infinity ? 0 : beta(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5);
  }

  /* The t whose two-sided p-value is ALPHA. */
  function studentT(freedom) {
    let low = 0, high = 1;
    while (studentP(high, freedom) > ALPHA) { low = high; high *= 2; }
    for (let i = 0; i < 100 && high - low > 1e-14 * high; i += 1) {
      const middle = (low + high) / 2;
      if (studentP(middle, freedom) > ALPHA) { low = middle; } else { high = middle; }
    }
    return (low + high) / 2;
  }

  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;

  /* Variance of a sample, 0 for a sample of one. */
  const variance = (values, middle = mean(values)) => values.length < 2 ? 0
    : sum(values.map((value) => (value - middle) ** 2)) / (values.length - 1);

  /* The values of one task that is the mean of several collections: one array, weighted so that its mean is theirs. */
  function joined(parts) {
    const all = sum(parts.map((part) => part.length));
    return parts.length === 1 ? parts[0] : parts.flatMap((part) => part.map((value) => value * (all / (parts.length * part.length))));
  }

  /* A - B, 0 where they differ by rounding alone. */
  const differenceOf = (a, b) => Math.abs(a - b) <= ROUNDING ? 0 : a - b;

  /* Variance of differences, 0 where they differ by rounding alone. */
  function spreadOf(values) {
    const found = variance(values);
    return found <= ROUNDING ** 2 ? 0 : found;
  }

  /* A against B: one array of values for each task. Over several tasks the variance is that of the mean of means, with
     Welch and Satterthwaite's degrees of freedom. */
  function pairedTest(a, b) {
    const tasks = a.map((values, i) => values.map((value, j) => differenceOf(value, b[i][j]))), every = tasks.flat();
    const difference = sum(tasks.flatMap((task) => task.map((value) => value / (task.length * tasks.length))));
    const parts = tasks.filter((task) => task.length > 1)
      .map((task) => ({ v: spreadOf(task) / task.length / tasks.length ** 2, n: task.length - 1 }));
    const whole = sum(parts.map(({ v }) => v)), spread = Math.sqrt(spreadOf(every));
    let p = Math.abs(difference) <= ROUNDING || !parts.length ? 1 : 0, reach = 0;
    if (whole > 0) {
      const freedom = whole ** 2 / sum(parts.map(({ v, n }) => v ** 2 / n));
      p = studentP(difference / Math.sqrt(whole), freedom);
      reach = Math.sqrt(whole) * studentT(freedom);
    }
    return {
      queries: every.length, difference, interval: [difference - reach, difference + reach], p,
      effect_size: spread ? mean(every) / spread : null, wins: every.filter((value) => value > 0).length,
      losses: every.filter((value) => value < 0).length, ties: every.filter((value) => value === 0).length
    };
  }

  exabench.paired = { ALPHA, studentP, differenceOf, pairedTest, mean, joined };
})();
