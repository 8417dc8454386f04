//! An upper bound of the work that an expression makes of given values, found without evaluating
//! it: loops multiply by the lists they run over, and every operation costs what it looks at.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use serde_json::Value;

/// Most work of one evaluation; one unit is of the order of a hundred nanoseconds.
pub(super) const MOST: u64 = 4_000_000;

/// Deepest nesting of an expression: evaluation and this file recurse.
pub(super) const DEEPEST: usize = 128;

/// Units for preparing a pattern, which happens at every match.
const PATTERN: u64 = 500;
/// Units for a pattern that counts, or that is not written in the expression: it may be huge.
const LARGE_PATTERN: u64 = 1_000_000;

/// What is known of a value before evaluation.
#[derive(Clone, Copy)]
enum Shape<'a> {
    /// A part of the values given.
    Known(&'a Value),
    /// Something of at most this weight.
    AtMost(u64),
    /// A list of at most so many things of at most this weight each.
    Many { length: u64, each: u64 },
}

impl Shape<'_> {
    const SCALAR: Self = Self::AtMost(1);

    fn weight(self) -> u64 {
        match self {
            Self::Known(value) => weight(value),
            Self::AtMost(weight) => weight,
            Self::Many { length, each } => length.saturating_mul(each).saturating_add(1),
        }
    }

    fn length(self) -> u64 {
        match self {
            Self::Known(Value::Array(items)) => items.len() as u64,
            Self::Known(Value::Object(entries)) => entries.len() as u64,
            Self::Known(_) => 1,
            Self::AtMost(weight) => weight,
            Self::Many { length, .. } => length,
        }
    }

    /// The heaviest of the things inside.
    fn element(self) -> Self {
        let heaviest = match self {
            Self::Known(Value::Array(items)) => items.iter().map(weight).max(),
            Self::Known(Value::Object(entries)) => entries
                .iter()
                .map(|(key, value)| text(key.len()).max(weight(value)))
                .max(),
            Self::Known(_) => None,
            Self::AtMost(weight) => Some(weight),
            Self::Many { each, .. } => Some(each),
        };
        Self::AtMost(heaviest.unwrap_or(1))
    }
}

fn weight(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(string) => text(string.len()),
        Value::Array(items) => items
            .iter()
            .fold(1, |sum, item| sum.saturating_add(weight(item))),
        Value::Object(entries) => entries.iter().fold(1, |sum, (key, value)| {
            sum.saturating_add(text(key.len()))
                .saturating_add(weight(value))
        }),
    }
}

fn text(bytes: usize) -> u64 {
    1 + bytes as u64 / 16
}

/// Names in scope, innermost last.
type Scope<'a> = Vec<(&'a str, Shape<'a>)>;

/// The bound for `expression` over `variables`.
pub(super) fn of(expression: &IdedExpr, variables: &[(&str, &Value)]) -> u64 {
    let mut scope: Scope<'_> = variables
        .iter()
        .map(|(name, value)| (*name, Shape::Known(value)))
        .collect();
    bound(&expression.expr, &mut scope).0
}

/// Whether an expression nests deeper than [`DEEPEST`].
pub(super) fn is_too_deep(expression: &IdedExpr) -> bool {
    deeper_than(&expression.expr, DEEPEST)
}

fn deeper_than(expression: &Expr, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else {
        return true;
    };
    parts(expression)
        .into_iter()
        .any(|part| deeper_than(part, left))
}

fn parts(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &target.expr)
            .chain(call.args.iter().map(|arg| &arg.expr))
            .collect(),
        Expr::Comprehension(loops) => [
            &loops.iter_range,
            &loops.accu_init,
            &loops.loop_cond,
            &loops.loop_step,
            &loops.result,
        ]
        .map(|part| &part.expr)
        .to_vec(),
        Expr::List(list) => list.elements.iter().map(|element| &element.expr).collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| entry_parts(&entry.expr))
            .collect(),
        Expr::Struct(fields) => fields
            .entries
            .iter()
            .flat_map(|entry| entry_parts(&entry.expr))
            .collect(),
        Expr::Select(select) => vec![&select.operand.expr],
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&Expr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value.expr],
        EntryExpr::MapEntry(entry) => vec![&entry.key.expr, &entry.value.expr],
    }
}

/// Work and shape of an expression.
fn bound<'a>(expression: &'a Expr, scope: &mut Scope<'a>) -> (u64, Shape<'a>) {
    match expression {
        Expr::Unspecified => (1, Shape::SCALAR),
        Expr::Ident(name) => {
            let found = scope.iter().rev().find(|(known, _)| known == name);
            (1, found.map_or(Shape::SCALAR, |(_, shape)| *shape))
        }
        Expr::Literal(LiteralValue::String(string)) => {
            (1, Shape::AtMost(text(string.inner().len())))
        }
        Expr::Literal(LiteralValue::Bytes(bytes)) => (1, Shape::AtMost(text(bytes.inner().len()))),
        Expr::Literal(_) => (1, Shape::SCALAR),
        Expr::Select(select) => {
            let (work, operand) = bound(&select.operand.expr, scope);
            let field = match operand {
                Shape::Known(Value::Object(entries)) => {
                    entries.get(&select.field).map(Shape::Known)
                }
                Shape::Known(_) => None,
                unknown => Some(Shape::AtMost(unknown.weight())),
            };
            let shape = if select.test {
                Shape::SCALAR
            } else {
                field.unwrap_or(Shape::SCALAR)
            };
            (work.saturating_add(1), shape)
        }
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => {
            let (work, weight) = sum(parts(expression), scope);
            (work.saturating_add(weight), Shape::AtMost(weight))
        }
        Expr::Call(call) => bound_call(call, expression, scope),
        Expr::Comprehension(loops) => bound_loop(loops, scope),
    }
}

/// Work and weight of several expressions, added up.
fn sum<'a>(expressions: Vec<&'a Expr>, scope: &mut Scope<'a>) -> (u64, u64) {
    expressions
        .into_iter()
        .fold((1, 1), |(work, weight), part| {
            let (more, shape) = bound(part, scope);
            (
                u64::saturating_add(work, more),
                u64::saturating_add(weight, shape.weight()),
            )
        })
}

fn bound_call<'a>(
    call: &'a CallExpr,
    expression: &'a Expr,
    scope: &mut Scope<'a>,
) -> (u64, Shape<'a>) {
    let (work, weight) = sum(parts(expression), scope);
    match call.func_name.as_str() {
        // These look at two truths.
        "_&&_" | "_||_" | "!_" | "@not_strictly_false" | "__not_strictly_false__" => {
            (work, Shape::SCALAR)
        }
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "@in" | "_in_" | "in" | "size"
        | "contains" | "startsWith" | "endsWith" | "int" | "uint" | "double" | "bool" => {
            (work.saturating_add(weight), Shape::SCALAR)
        }
        "matches" => {
            let simple = matches!(
                call.args.last().map(|pattern| &pattern.expr),
                Some(Expr::Literal(LiteralValue::String(pattern))) if !pattern.inner().contains(['{', '\\'])
            );
            let pattern = if simple { PATTERN } else { LARGE_PATTERN };
            (
                work.saturating_add(weight.saturating_mul(8))
                    .saturating_add(pattern),
                Shape::SCALAR,
            )
        }
        "_[_]" => {
            let element = call
                .args
                .first()
                .map_or(Shape::SCALAR, |list| bound(&list.expr, scope).1.element());
            (work, element)
        }
        _ => (work.saturating_add(weight), Shape::AtMost(weight)),
    }
}

fn bound_loop<'a>(loops: &'a ComprehensionExpr, scope: &mut Scope<'a>) -> (u64, Shape<'a>) {
    let (range_work, range) = bound(&loops.iter_range.expr, scope);
    let (init_work, init) = bound(&loops.accu_init.expr, scope);
    let depth = scope.len();
    scope.push((&loops.accu_var, Shape::SCALAR));
    let outside = scope.len();
    scope.push((&loops.iter_var, range.element()));
    if let Some(second) = &loops.iter_var2 {
        scope.push((second, range.element()));
    }
    let (test_work, _) = bound(&loops.loop_cond.expr, scope);
    let (step_work, step) = bound(&loops.loop_step.expr, scope);
    scope.truncate(outside);
    // What a loop gathers has at most one more part for each turn.
    scope[depth].1 = Shape::Many {
        length: init.length().saturating_add(range.length()),
        each: step.weight().max(init.weight()),
    };
    let (result_work, result) = bound(&loops.result.expr, scope);
    scope.truncate(depth);
    let once = test_work.saturating_add(step_work);
    let work = range_work
        .saturating_add(init_work)
        .saturating_add(range.length().saturating_mul(once))
        .saturating_add(result_work);
    (work, result)
}
