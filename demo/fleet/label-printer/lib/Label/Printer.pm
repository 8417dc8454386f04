package Label::Printer;

use strict;
use warnings;

our $VERSION = '1.07';

# Wraps an address into lines of at most $width characters, words kept whole.
sub wrap {
    my ($text, $width) = @_;
    my @lines = ('');
    for my $word (split ' ', $text) {
        if (length $lines[-1] && length($lines[-1]) + 1 + length($word) > $width) {
            push @lines, $word;
        }
        else {
            $lines[-1] .= (length $lines[-1] ? ' ' : '') . $word;
        }
    }
    return @lines;
}

1;
