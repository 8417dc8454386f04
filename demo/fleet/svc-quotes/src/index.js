const BANDS = [
  { from: 100, percent: 15 },
  { from: 20, percent: 8 },
  { from: 1, percent: 0 },
];

/** Returns the price in cents of `quantity` pieces after the discount of their band. */
export function price(cents, quantity) {
  const band = BANDS.find(({ from }) => quantity >= from);
  if (!band) throw new RangeError(`quantity ${quantity} is below one`);
  return Math.round((cents * quantity * (100 - band.percent)) / 100);
}
