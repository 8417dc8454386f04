/** Groups messages by recipient and keeps at most `limit` of the newest of each. */
export function digest(messages, limit = 5) {
  const byRecipient = new Map();
  for (const message of [...messages].sort((a, b) => b.at - a.at)) {
    const kept = byRecipient.get(message.to) ?? [];
    if (kept.length < limit) kept.push(message.text);
    byRecipient.set(message.to, kept);
  }
  return byRecipient;
}
