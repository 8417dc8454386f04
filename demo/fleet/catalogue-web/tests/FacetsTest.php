<?php

declare(strict_types=1);

use Catalogue\Facets;
use PHPUnit\Framework\TestCase;

final class FacetsTest extends TestCase
{
    public function testTheMostFrequentValueComesFirst(): void
    {
        $articles = [['colour' => 'red'], ['colour' => 'blue'], ['colour' => 'blue']];
        self::assertSame(['blue' => 2, 'red' => 1], Facets::of($articles, 'colour'));
    }
}
