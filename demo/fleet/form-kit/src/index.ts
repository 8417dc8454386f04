/** A rule returns what is wrong with a value, or nothing. */
export type Rule = (value: string) => string | undefined;

export const required: Rule = (value) => (value.trim() ? undefined : "must not be empty");

export const longest =
  (limit: number): Rule =>
  (value) =>
    value.length <= limit ? undefined : `must have at most ${limit} characters`;

/** Returns the first complaint of the rules, in their order. */
export function complaint(value: string, rules: Rule[]): string | undefined {
  for (const rule of rules) {
    const found = rule(value);
    if (found) return found;
  }
  return undefined;
}
