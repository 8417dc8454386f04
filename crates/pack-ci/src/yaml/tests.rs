use super::{At, parse};

#[test]
fn a_version_stays_text() {
    let root = parse("go: 1.10").unwrap();
    assert_eq!(
        At::root(&root).get("go").and_then(|at| at.text()),
        Some("1.10")
    );
}

#[test]
fn merge_keys_bring_entries_and_own_keys_win() {
    let root = parse("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\n").unwrap();
    let b = At::root(&root).get("b").unwrap();
    assert_eq!(b.get("k").and_then(|at| at.text()), Some("3"));
    assert_eq!(b.get("l").and_then(|at| at.text()), Some("2"));
}

#[test]
fn of_two_equal_keys_the_later_counts_and_the_earlier_is_kept() {
    let root = parse("script: a\nscript: b\n").unwrap();
    assert_eq!(
        At::root(&root).get("script").and_then(|at| at.text()),
        Some("b")
    );
    let super::Value::Map(pairs) = &root.value else {
        panic!("a map")
    };
    assert_eq!(pairs[0].replaced_at, Some(2));
}

#[test]
fn an_alias_bomb_is_refused_with_its_place() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = n - 1;
        let aliases = vec![format!("*a{before}"); 10].join(", ");
        text.extend([format!("a{n}: &a{n} [{aliases}]\n")]);
    }
    let error = parse(&text).unwrap_err();
    assert!(error.cause.contains("aliases"), "{error}");
    assert!(error.line > 1);
}

#[test]
fn deep_nesting_is_refused() {
    let error = parse(&"[".repeat(5000)).unwrap_err();
    assert_eq!(error.line, 1);
}

#[test]
fn broken_yaml_names_line_and_column() {
    let error = parse("a: b\n  c: 'd\n").unwrap_err();
    assert!(error.line >= 1 && error.column >= 1, "{error}");
}

#[test]
fn nul_is_refused_and_a_byte_order_mark_is_not() {
    assert!(parse("a: \0").is_err());
    assert!(parse("\u{feff}a: b").is_ok());
}

#[test]
fn an_empty_text_is_an_empty_map() {
    assert!(At::root(&parse("").unwrap()).is_map());
}
