use strict;
use warnings;
use Test::More tests => 1;
use Label::Printer;

is_deeply([Label::Printer::wrap('12 Quay Street Harbour', 10)], ['12 Quay', 'Street', 'Harbour'], 'words stay whole');
