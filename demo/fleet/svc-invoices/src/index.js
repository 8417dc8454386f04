/** Totals an invoice: net, tax and gross in cents, tax rounded once per rate. */
export function totals(lines) {
  const netByRate = new Map();
  for (const { cents, quantity, rate } of lines) {
    netByRate.set(rate, (netByRate.get(rate) ?? 0) + cents * quantity);
  }
  let net = 0;
  let tax = 0;
  for (const [rate, amount] of netByRate) {
    net += amount;
    tax += Math.round((amount * rate) / 100);
  }
  return { net, tax, gross: net + tax };
}
