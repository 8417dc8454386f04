//! `cache` as one cache step.

use crate::{
    account::Claims,
    pipeline::{Act, Step, When},
    yaml::At,
};

/// The step that restores and saves what `cache` names, if it names anything.
pub(crate) fn step(at: &At<'_>, language: &str, claims: &Claims) -> Option<Step> {
    let mut paths: Vec<String> = Vec::new();
    if at.truth() == Some(false) {
        claims.not_needed(&at.path, "nothing is cached unless asked for");
        return None;
    }
    for item in at.items() {
        if let Some(name) = item.text() {
            kind(name, &item, claims, &mut paths);
        }
        for (key, value) in item.entries() {
            if key == "directories" {
                directories(&value, claims, &mut paths);
            } else if value.truth() == Some(false) {
                claims.not_needed(&value.path, "nothing is cached unless asked for");
            } else {
                kind(key, &value, claims, &mut paths);
            }
        }
    }
    paths.dedup();
    (!paths.is_empty()).then(|| Step {
        name: None,
        id: None,
        when: When::Before,
        may_fail: false,
        env: Vec::new(),
        act: Act::Cache {
            paths,
            lock_files: lock_files(language),
        },
    })
}

fn kind(name: &str, at: &At<'_>, claims: &Claims, paths: &mut Vec<String>) {
    let found: &[&str] = match name {
        "bundler" => &["vendor/bundle"],
        "pip" => &["~/.cache/pip"],
        "npm" => &["~/.npm"],
        "yarn" => &["~/.cache/yarn"],
        "cargo" => &["~/.cargo/registry", "~/.cargo/git", "target"],
        "ccache" => &["~/.ccache", "~/.cache/ccache"],
        "cocoapods" => &["Pods"],
        "packages" => &["~/.local/share/R"],
        "apt" => return claims.not_needed(&at.path, "Travis ignored it since 2015"),
        "timeout" | "edge" | "branch" | "force" | "sudo" => {
            return claims.not_needed(&at.path, "a setting of Travis' own cache");
        }
        _ => return claims.manual(&at.path, "say which folders this cache means"),
    };
    paths.extend(found.iter().map(|&path| path.to_owned()));
    claims.mapped(&at.path, "cache step");
}

fn directories(at: &At<'_>, claims: &Claims, paths: &mut Vec<String>) {
    for item in at.items() {
        let text = item.text().unwrap_or_default().trim();
        if item.node.is_null() {
            claims.not_needed(&item.path, "names no folder");
            continue;
        }
        let path = text
            .replace("${HOME}", "~")
            .replace("$HOME", "~")
            .replace("${TRAVIS_BUILD_DIR}/", "")
            .replace("$TRAVIS_BUILD_DIR/", "");
        let path = path.trim_matches('"').to_owned();
        if path.is_empty() || path.contains(['$', '`', '\n', '{', '!']) {
            claims.manual(&item.path, "name this folder without a variable");
        } else {
            paths.push(path);
            claims.mapped(&item.path, "cache step");
        }
    }
}

/// Files whose change makes a new cache.
fn lock_files(language: &str) -> &'static str {
    match language {
        "node_js" => "'**/package.json', '**/package-lock.json', '**/yarn.lock'",
        "python" => "'**/requirements*.txt', '**/setup.py', '**/pyproject.toml'",
        "ruby" => "'**/Gemfile*', '**/*.gemspec'",
        "go" => "'**/go.sum', '**/Gopkg.lock'",
        "rust" => "'**/Cargo.toml', '**/Cargo.lock'",
        "java" | "groovy" | "kotlin" | "android" | "scala" | "clojure" => {
            "'**/pom.xml', '**/*.gradle*', '**/gradle-wrapper.properties', '**/*.sbt', '**/project.clj'"
        }
        "php" => "'**/composer.json', '**/composer.lock'",
        _ => "'.github/workflows/ci.yml'",
    }
}
