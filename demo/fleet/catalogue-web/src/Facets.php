<?php

declare(strict_types=1);

namespace Catalogue;

/** Counts how many articles carry each value of a property. */
final class Facets
{
    /**
     * @param list<array<string, string>> $articles
     * @return array<string, int> the most frequent value first
     */
    public static function of(array $articles, string $property): array
    {
        $counts = array_count_values(array_column($articles, $property));
        arsort($counts);
        return $counts;
    }
}
