set -eu
# An inventory of the tree, and what its CI configuration says, with the words one per line.
{
    echo "# Inventory"
    echo
    find . -name .git -prune -o -type f -print | sort | while read -r file; do
        printf '%6d %s\n' "$(wc -l <"$file")" "$file"
    done
} >INVENTORY.md
awk -F: '/^[a-z_]+:/ { print $1 }' .travis.yml | sort | uniq -c | sed 's/^ *//' >ci/keys.txt
sed -e 's/[[:space:]]*$//' -e '/^#/d' .travis.yml >ci/travis.before
