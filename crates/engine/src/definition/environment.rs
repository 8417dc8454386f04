//! What makes no sense in the key `environment`.

use std::collections::HashSet;
use std::hash::Hash;

use model::automation::{
    Definition, EnvironmentDefinition, ExecDefinition, InlineRecipe, Readiness, ServiceDefinition,
};
use model::exec::ExecMode;

use super::{Place, Problem, network, problem};

/// Entries of one list, at most: an automation file is written by people.
const MOST: usize = 1000;
/// The least memory that anything starts in.
const LEAST_MEMORY: u64 = 4 << 20;

pub(super) fn check(definition: &Definition) -> Result<(), Problem> {
    let environment = &definition.environment;
    let top = [Place::Key("environment")];
    check_limits(environment, &top)?;
    for folder in &environment.folders {
        check_absolute(folder, &below(&top, "folders"))?;
    }
    for layer in &environment.isolation.layers {
        let word = !layer.is_empty()
            && layer
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !word {
            let message =
                format!("`{layer}` is no layer's name; `nightcrew doctor` lists the layers");
            return Err(problem(
                &below(&below(&top, "isolation"), "layers"),
                message,
            ));
        }
    }
    check_exec(&environment.exec, &below(&top, "exec"))?;
    network::check(environment, &below(&top, "network"))?;
    match environment.recipe.inline() {
        Some(recipe) => check_recipe(recipe, &below(&top, "recipe")),
        None => Ok(()),
    }
}

pub(super) fn below(path: &[Place], key: &'static str) -> Vec<Place> {
    let mut path = path.to_vec();
    path.push(Place::Key(key));
    path
}

pub(super) fn item(path: &[Place], index: usize) -> Vec<Place> {
    let mut path = path.to_vec();
    path.push(Place::Item(index));
    path
}

fn check_limits(environment: &EnvironmentDefinition, top: &[Place]) -> Result<(), Problem> {
    let limits = &environment.limits;
    let path = below(top, "limits");
    for (key, size) in [
        ("memory", limits.memory),
        ("process_memory", limits.process_memory),
    ] {
        if size.is_some_and(|size| size.0 < LEAST_MEMORY) {
            return Err(problem(
                &below(&path, key),
                "no program starts in less than 4MiB",
            ));
        }
    }
    for (key, number) in [
        ("processes", limits.processes),
        ("files", limits.files),
        ("disk", limits.disk.map(|size| size.0)),
        ("file", limits.file.map(|size| size.0)),
    ] {
        if number == Some(0) {
            return Err(problem(&below(&path, key), "0 leaves nothing to work with"));
        }
    }
    Ok(())
}

fn check_exec(exec: &ExecDefinition, path: &[Place]) -> Result<(), Problem> {
    let mode = exec.effective_mode();
    let lists = [
        ("deny", &exec.deny),
        ("allow", &exec.allow),
        ("report", &exec.report),
    ];
    for (key, rules) in lists {
        check_unique(
            rules.iter().map(|rule| &rule.target),
            "rule",
            &below(path, key),
        )?;
        if exec.mode == Some(ExecMode::Off) && !rules.is_empty() {
            let mut problem = problem(
                &below(path, key),
                "with `mode: off` nothing is judged, so this rule says nothing",
            );
            problem.hint =
                Some("leave `mode` out, or write observe, deny-list, allow-list or strict".into());
            return Err(problem);
        }
    }
    check_unique(
        exec.interpreters.iter(),
        "interpreter",
        &below(path, "interpreters"),
    )?;
    check_unique(exec.producers.iter(), "producer", &below(path, "producers"))?;
    let needs_list = [
        ("allow", !exec.allow.is_empty() && mode == ExecMode::Off),
        (
            "producers",
            !exec.producers.is_empty() && mode != ExecMode::AllowList,
        ),
    ];
    for (key, wrong) in needs_list {
        if wrong {
            let mut problem = problem(
                &below(path, key),
                format!(
                    "`{key}` says what may execute beyond the root, and only `mode: allow-list` refuses the rest"
                ),
            );
            problem.hint = Some("add `mode: allow-list`".into());
            return Err(problem);
        }
    }
    if let Some((index, rule)) = exec
        .allow
        .iter()
        .enumerate()
        .find(|(_, rule)| exec.deny.iter().any(|other| other.target == rule.target))
    {
        let message = format!(
            "`{}` is denied as well, and a denial wins over a permission",
            rule.target
        );
        return Err(problem(&item(&below(path, "allow"), index), message));
    }
    Ok(())
}

fn check_unique<'a, T: Hash + Eq + std::fmt::Display + 'a>(
    items: impl ExactSizeIterator<Item = &'a T>,
    what: &str,
    path: &[Place],
) -> Result<(), Problem> {
    if items.len() > MOST {
        return Err(problem(path, format!("more than {MOST} entries")));
    }
    let mut seen = HashSet::new();
    for (index, entry) in items.enumerate() {
        if !seen.insert(entry) {
            return Err(problem(
                &item(path, index),
                format!("the {what} `{entry}` is there twice"),
            ));
        }
    }
    Ok(())
}

fn check_recipe(recipe: &InlineRecipe, path: &[Place]) -> Result<(), Problem> {
    let roots: Vec<&str> = [
        ("image", recipe.image.is_some()),
        ("folder", recipe.folder.is_some()),
        ("devcontainer", recipe.devcontainer.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    if roots.len() > 1 {
        let message = format!(
            "a recipe has one root, and this has {}",
            roots.join(" and ")
        );
        return Err(problem(path, message));
    }
    if let Some(image) = &recipe.image {
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        if image.is_empty() || image.len() > 1000 || !image.chars().all(plain) {
            return Err(problem(
                &below(path, "image"),
                "an image is a reference, a layout folder or a tarball, without white space",
            ));
        }
    }
    if let Some(digest) = &recipe.digest {
        let place = below(path, "digest");
        if recipe.image.is_none() {
            return Err(problem(
                &place,
                "`digest` belongs to `image`, and there is none",
            ));
        }
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(problem(
                &place,
                "a digest is `sha256:` and 64 lower-case hexadecimal digits",
            ));
        }
    }
    if let Some(folder) = &recipe.folder {
        check_absolute(folder, &below(path, "folder"))?;
    }
    if let Some(file) = &recipe.devcontainer {
        let inside = !file.is_empty()
            && !file.starts_with('/')
            && !file.chars().any(char::is_control)
            && file.split('/').all(|part| part != "..");
        if !inside {
            return Err(problem(
                &below(path, "devcontainer"),
                "a path from the repository's top, such as .devcontainer/devcontainer.json",
            ));
        }
    }
    let caches = below(path, "caches");
    let mut seen = HashSet::new();
    for (index, cache) in recipe.caches.iter().enumerate() {
        if !seen.insert(cache) {
            return Err(problem(&item(&caches, index), "the cache is there twice"));
        }
    }
    let mut names = HashSet::new();
    for (index, service) in recipe.services.iter().enumerate() {
        let place = item(&below(path, "services"), index);
        check_service(service, &place)?;
        if !names.insert(&service.name) {
            return Err(problem(
                &place,
                format!("the service `{}` is there twice", service.name),
            ));
        }
    }
    Ok(())
}

fn check_service(service: &ServiceDefinition, path: &[Place]) -> Result<(), Problem> {
    let name = &service.name;
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 60 || !name.bytes().all(word) {
        let message =
            format!("`{name}` is no name: lower case letters, digits and dashes, at most 60");
        return Err(problem(&below(path, "name"), message));
    }
    let Some(Readiness {
        command,
        port,
        file,
    }) = &service.ready
    else {
        return Ok(());
    };
    let place = below(path, "ready");
    let ways =
        usize::from(command.is_some()) + usize::from(port.is_some()) + usize::from(file.is_some());
    if ways != 1 {
        return Err(problem(
            &place,
            "a service is ready by exactly one of command, port, file",
        ));
    }
    if *port == Some(0) {
        return Err(problem(&below(&place, "port"), "0 is no port"));
    }
    match file {
        Some(file) => check_absolute(file, &below(&place, "file")),
        None => Ok(()),
    }
}

fn check_absolute(path: &str, place: &[Place]) -> Result<(), Problem> {
    let sound = path.starts_with('/')
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| part != "..");
    if sound {
        return Ok(());
    }
    Err(problem(
        place,
        format!("`{path}` is no absolute path without `..`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{DefinitionError, read};

    fn error(environment: &str) -> DefinitionError {
        let text = format!("name: a\nsteps: [{{command: x}}]\nenvironment:\n{environment}");
        read(&text, "a.yaml").expect_err(environment)
    }

    const WHOLE: &str = "\
name: a
steps: [{command: x}]
environment:
  recipe:
    image: docker.io/library/rust:1.95
    digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    setup: [cargo --version, [touch, /ready]]
    caches: [cargo, npm]
    services:
      - {name: db, command: postgres -D /data, env: {LANG: C}, ready: {port: 5432}, timeout: 20s}
  limits: {memory: 4GiB, process_memory: 2GiB, cpu: 0.5, disk: 10GiB, files: 100000}
  isolation: {level: L1, layers: [landlock], accept_weaker: true}
  exec:
    mode: allow-list
    deny: [npx, /usr/bin/curl, {package: left-pad, reason: ask ada}]
    allow: ['sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef']
    report: [git]
    producers: [cargo]
    interpreters: [python3]
";

    #[test]
    fn a_whole_environment_reads_back() {
        let definition = read(WHOLE, "a.yaml").unwrap();
        let json = serde_json::to_string(&definition).unwrap();
        let again: model::automation::Definition = serde_json::from_str(&json).unwrap();
        assert_eq!(again, definition);
        assert_eq!(definition.environment.exec.deny.len(), 3);
        assert_eq!(definition.environment.limits.cpu.unwrap().0, 500);
    }

    #[test]
    fn a_denial_alone_means_a_deny_list() {
        let text = "name: a\nsteps: [{command: x}]\nenvironment: {exec: {deny: [npx]}}\n";
        let exec = read(text, "a.yaml").unwrap().environment.exec;
        assert_eq!(exec.effective_mode(), model::exec::ExecMode::DenyList);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_key() {
        for (environment, key, words) in [
            ("  recipe: rust\n", "recipe", "no recipe `rust`"),
            (
                "  recipe:\n    image: a\n    folder: /b\n",
                "environment.recipe",
                "image and folder",
            ),
            (
                "  recipe:\n    image: a\n    digest: sha256:abc\n",
                "environment.recipe.digest",
                "64",
            ),
            (
                "  recipe:\n    digest: x\n",
                "environment.recipe.digest",
                "image",
            ),
            (
                "  recipe:\n    devcontainer: ../x\n",
                "environment.recipe.devcontainer",
                "top",
            ),
            (
                "  recipe:\n    folder: root\n",
                "environment.recipe.folder",
                "absolute",
            ),
            (
                "  recipe:\n    caches: [npm, npm]\n",
                "environment.recipe.caches[1]",
                "twice",
            ),
            (
                "  recipe:\n    services:\n      - {name: db, command: x, ready: {port: 1, file: /x}}\n",
                "environment.recipe.services[0].ready",
                "exactly one",
            ),
            (
                "  limits:\n    memory: 1KiB\n",
                "environment.limits.memory",
                "4MiB",
            ),
            ("  limits:\n    cpu: 0\n", "cpu", "cores"),
            (
                "  isolation:\n    layers: ['']\n",
                "environment.isolation.layers",
                "doctor",
            ),
            ("  isolation:\n    level: L9\n", "level", "L9"),
            (
                "  exec:\n    mode: off\n    deny: [npx]\n",
                "environment.exec.deny",
                "nothing is judged",
            ),
            ("  exec:\n    deny: ['']\n", "deny", "empty"),
            ("  exec:\n    deny: ['sha256:12']\n", "deny", "64"),
            (
                "  exec:\n    deny: [{name: a, path: /b}]\n",
                "deny",
                "exactly one",
            ),
            (
                "  exec:\n    deny: [a, a]\n",
                "environment.exec.deny[1]",
                "twice",
            ),
            (
                "  exec:\n    mode: strict\n    deny: [a]\n    allow: [a]\n",
                "environment.exec.allow[0]",
                "wins",
            ),
            (
                "  exec:\n    producers: [cargo]\n",
                "environment.exec.producers",
                "allow-list",
            ),
            ("  exec:\n    denny: [a]\n", "denny", "denny"),
        ] {
            let error = error(environment);
            assert_eq!(error.key, key, "{environment}: {error:?}");
            assert!(
                error.message.contains(words),
                "{environment}: {}",
                error.message
            );
            assert!(error.line >= 4, "{environment}: {error:?}");
        }
    }
}
