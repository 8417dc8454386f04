const words = (text) => new Set(text.toLowerCase().match(/[a-z0-9]+/g) ?? []);

/** Returns the articles that share a word with the query, most shared words first. */
export function search(query, articles) {
  const wanted = words(query);
  return articles
    .map((article) => {
      const shared = [...words(article.title)].filter((word) => wanted.has(word)).length;
      return { article, shared };
    })
    .filter(({ shared }) => shared > 0)
    .sort((a, b) => b.shared - a.shared || a.article.id - b.article.id)
    .map(({ article }) => article);
}
