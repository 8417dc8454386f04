//! GitHub's matrix: how it expands, and the shortest way to write given rows.
//!
//! Expansion follows the published rules: the product of the axes, minus `exclude`, then each
//! entry of `include` is added to every original combination none of whose axes it contradicts, and
//! becomes a combination of its own if there is none.

use std::collections::BTreeMap;

use crate::pipeline::{Job, Row};

/// A value in a matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Text(String),
    Map(Vec<(String, String)>),
}

/// Keys and values in order.
pub(crate) type Entry = Vec<(String, Cell)>;

/// A matrix as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) axes: Vec<(String, Vec<Cell>)>,
    pub(crate) exclude: Vec<Entry>,
    pub(crate) include: Vec<Entry>,
}

/// A layout of a job's rows.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Columns with one value for all rows, which need no matrix.
    pub(crate) constants: BTreeMap<String, String>,
    pub(crate) matrix: Option<Matrix>,
    /// Columns that are fields of the column `env`.
    pub(crate) nested: Vec<String>,
}

/// The key that marks a combination whose failure is allowed.
pub(crate) const MAY_FAIL: &str = "experimental";
/// The key that names a combination.
pub(crate) const NAME: &str = "name";
const NESTED: &str = "env";

/// The combinations a matrix stands for.
pub(crate) fn expand(matrix: &Matrix) -> Vec<BTreeMap<String, Cell>> {
    let mut combinations: Vec<BTreeMap<String, Cell>> = Vec::new();
    if !matrix.axes.is_empty() {
        combinations.push(BTreeMap::new());
    }
    for (axis, values) in &matrix.axes {
        combinations = combinations
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut made = combination.clone();
                    made.insert(axis.clone(), value.clone());
                    made
                })
            })
            .take(4000)
            .collect();
    }
    combinations.retain(|combination| {
        !matrix.exclude.iter().any(|entry| {
            entry
                .iter()
                .all(|(key, value)| combination.get(key) == Some(value))
        })
    });
    let is_axis = |key: &str| matrix.axes.iter().any(|(axis, _)| axis == key);
    let originals = combinations.len();
    for entry in &matrix.include {
        let mut added = false;
        for combination in &mut combinations[..originals] {
            let fits = entry
                .iter()
                .filter(|(key, _)| is_axis(key))
                .all(|(key, value)| combination.get(key) == Some(value));
            if fits {
                added = true;
                combination.extend(entry.iter().cloned());
            }
        }
        if !added {
            combinations.push(entry.iter().cloned().collect());
        }
    }
    combinations
}

/// The shortest layout that expands to exactly the job's rows.
pub(crate) fn layout(job: &Job) -> Layout {
    let rows = &job.rows;
    let mut made = Layout::default();
    let Some(first) = rows.first() else {
        return made;
    };
    for (column, value) in &first.cells {
        if rows
            .iter()
            .all(|row| cell(row, column) == Some(value.as_str()))
        {
            made.constants.insert(column.clone(), value.clone());
        }
    }
    if rows.len() == 1 {
        return made;
    }
    let columns: Vec<&str> = first
        .cells
        .iter()
        .map(|(column, _)| column.as_str())
        .filter(|column| !made.constants.contains_key(*column))
        .collect();
    let variables: Vec<String> = columns
        .iter()
        .filter(|column| is_variable(job, column))
        .map(|column| (*column).to_owned())
        .collect();
    let flat: Vec<Entry> = rows.iter().map(|row| entry(row, &columns, &[])).collect();
    let nested: Vec<Entry> = rows
        .iter()
        .map(|row| entry(row, &columns, &variables))
        .collect();
    let several = variables.len() > 1;
    let attempts: [(&[Entry], bool, usize); 4] = [
        (&flat, false, 0),
        (&nested, several, 0),
        (&flat, false, 6),
        (&nested, several, 6),
    ];
    for (entries, is_nested, holes) in attempts {
        if !several && std::ptr::eq(entries, nested.as_slice()) {
            continue;
        }
        for base in [None, Some(rows)] {
            if let Some(matrix) = product(entries, base, holes) {
                made.matrix = Some(matrix);
                if is_nested {
                    made.nested = variables;
                }
                return made;
            }
        }
    }
    made.matrix = Some(Matrix {
        include: flat.iter().map(full).collect(),
        ..Matrix::default()
    });
    made
}

fn is_variable(job: &Job, column: &str) -> bool {
    job.rows
        .iter()
        .any(|row| row.variable_columns.iter().any(|name| name == column))
}

fn cell<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    row.cells
        .iter()
        .find(|(held, _)| held == column)
        .map(|(_, value)| value.as_str())
}

/// A row's cells in `columns`, those in `nested` as one map.
fn entry(row: &Row, columns: &[&str], nested: &[String]) -> Entry {
    let mut made: Entry = Vec::new();
    let mut map = Vec::new();
    for column in columns {
        let value = cell(row, column).unwrap_or_default().to_owned();
        if nested.iter().any(|held| held == column) {
            if !value.is_empty() {
                map.push(((*column).to_owned(), value));
            }
        } else {
            made.push(((*column).to_owned(), Cell::Text(value)));
        }
    }
    if nested.len() > 1 {
        made.push((NESTED.to_owned(), Cell::Map(map)));
    }
    // The name and the mark of the row come last and are no axes.
    extras(row).into_iter().for_each(|extra| made.push(extra));
    made
}

fn extras(row: &Row) -> Entry {
    let mut extras = Vec::new();
    if let Some(name) = &row.name {
        extras.push((NAME.to_owned(), Cell::Text(name.clone())));
    }
    if row.may_fail {
        extras.push((MAY_FAIL.to_owned(), Cell::Text("true".to_owned())));
    }
    extras
}

/// An entry that stands alone: empty variables can be left out.
fn full(entry: &Entry) -> Entry {
    let empty = Cell::Text(String::new());
    if entry.iter().all(|(_, value)| *value == empty) {
        return entry.clone();
    }
    entry
        .iter()
        .filter(|(_, value)| *value != empty)
        .cloned()
        .collect()
}

/// A product with at most `holes` exclusions and the rest as `include`; `None` if that is no
/// exact description of `entries`. With `rows`, only multiplied rows make the product.
fn product(entries: &[Entry], rows: Option<&Vec<Row>>, holes: usize) -> Option<Matrix> {
    let is_extra = |key: &str| key == NAME || key == MAY_FAIL;
    let in_base = |index: usize| rows.is_none_or(|rows| rows[index].multiplied);
    let mut matrix = Matrix::default();
    let mut base = 0_usize;
    for (_, entry) in entries
        .iter()
        .enumerate()
        .filter(|(index, _)| in_base(*index))
    {
        base += 1;
        for (key, value) in entry.iter().filter(|(key, _)| !is_extra(key)) {
            match matrix.axes.iter_mut().find(|(axis, _)| axis == key) {
                Some((_, values)) if values.contains(value) => {}
                Some((_, values)) => values.push(value.clone()),
                None => matrix.axes.push((key.clone(), vec![value.clone()])),
            }
        }
    }
    let size = matrix.axes.iter().fold(1_usize, |size, (_, values)| {
        size.saturating_mul(values.len())
    });
    if base < 2 || size < base || size - base > holes.min(base / 3) {
        return None;
    }
    let wanted: Vec<BTreeMap<String, Cell>> = entries
        .iter()
        .map(|entry| entry.iter().cloned().collect())
        .collect();
    let axes_only = |combination: &BTreeMap<String, Cell>| -> BTreeMap<String, Cell> {
        combination
            .iter()
            .filter(|(key, _)| !is_extra(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let based: Vec<BTreeMap<String, Cell>> = wanted
        .iter()
        .enumerate()
        .filter(|(index, _)| in_base(*index))
        .map(|(_, combination)| axes_only(combination))
        .collect();
    for combination in expand(&matrix) {
        if !based.contains(&combination) {
            let missing = matrix
                .axes
                .iter()
                .filter_map(|(axis, _)| Some((axis.clone(), combination.get(axis)?.clone())))
                .collect();
            matrix.exclude.push(missing);
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        if !in_base(index) || entry.iter().any(|(key, _)| is_extra(key)) {
            matrix.include.push(entry.clone());
        }
    }
    // One value is no axis worth a line, but `include` needs it to tell its rows apart.
    let mut made = expand(&matrix);
    let mut wanted = wanted;
    made.sort();
    wanted.sort();
    (made == wanted).then_some(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }

    fn entry_of(pairs: &[(&str, &str)]) -> Entry {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), text(value)))
            .collect()
    }

    /// The example of GitHub's documentation of `include`.
    #[test]
    fn include_extends_what_it_does_not_contradict_and_adds_the_rest() {
        let matrix = Matrix {
            axes: vec![
                ("fruit".to_owned(), vec![text("apple"), text("pear")]),
                ("animal".to_owned(), vec![text("cat"), text("dog")]),
            ],
            exclude: Vec::new(),
            include: vec![
                entry_of(&[("color", "green")]),
                entry_of(&[("color", "pink"), ("animal", "cat")]),
                entry_of(&[("fruit", "apple"), ("shape", "circle")]),
                entry_of(&[("fruit", "banana")]),
                entry_of(&[("fruit", "banana"), ("animal", "cat")]),
            ],
        };
        let made = expand(&matrix);
        assert_eq!(made.len(), 6);
        assert_eq!(
            made[0],
            entry_of(&[
                ("fruit", "apple"),
                ("animal", "cat"),
                ("color", "pink"),
                ("shape", "circle")
            ])
            .into_iter()
            .collect()
        );
        assert_eq!(
            made[4],
            entry_of(&[("fruit", "banana")]).into_iter().collect()
        );
    }
}
