//! What Travis runs for a language when the file says nothing, made explicit.

use super::Phase;

/// The default command of `phase` for `language`; `None` when Travis runs nothing.
pub(crate) fn command(language: &str, phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Install => install(language),
        Phase::Script => script(language),
        _ => None,
    }
}

fn install(language: &str) -> Option<&'static str> {
    Some(match language {
        "node_js" => NODE_INSTALL,
        "python" => "if [ -f requirements.txt ]; then\n  pip install -r requirements.txt\nfi",
        "ruby" => RUBY_INSTALL,
        "go" => {
            "if ! ls GNUmakefile Makefile makefile BSDmakefile >/dev/null 2>&1; then\n  go get -t -v ./...\nfi"
        }
        "java" | "groovy" | "kotlin" | "android" => JVM_INSTALL,
        "php" => "if [ -f composer.json ]; then\n  composer install --no-interaction\nfi",
        "perl" => "cpanm --quiet --installdeps --notest .",
        "elixir" => "mix local.hex --force\nmix local.rebar --force\nmix deps.get",
        "erlang" => "if [ -f rebar.config ] || [ -f Rebar.config ]; then\n  rebar3 get-deps\nfi",
        "haskell" => "cabal update\ncabal build --only-dependencies --enable-tests",
        "dart" => "dart pub get",
        "crystal" => "shards install",
        "clojure" => "lein deps",
        _ => return None,
    })
}

fn script(language: &str) -> Option<&'static str> {
    Some(match language {
        "node_js" => {
            "if [ -f package.json ]; then\n  if [ -f yarn.lock ]; then yarn test; else npm test; fi\nelse\n  make test\nfi"
        }
        "ruby" => {
            "if [ -f \"${BUNDLE_GEMFILE:-Gemfile}\" ]; then\n  bundle exec rake\nelse\n  rake\nfi"
        }
        "go" => {
            "if ls GNUmakefile Makefile makefile BSDmakefile >/dev/null 2>&1; then\n  make\nelse\n  go test -v ./...\nfi"
        }
        "rust" => "cargo build --verbose && cargo test --verbose",
        "java" | "groovy" | "kotlin" | "android" => JVM_SCRIPT,
        "php" => "if [ -x vendor/bin/phpunit ]; then\n  vendor/bin/phpunit\nelse\n  phpunit\nfi",
        "c" | "cpp" => "./configure && make && make test",
        "perl" => {
            "if [ -f Build.PL ]; then\n  perl Build.PL && ./Build && ./Build test\nelif [ -f Makefile.PL ]; then\n  perl Makefile.PL && make test\nelse\n  make test\nfi"
        }
        "scala" => {
            "if [ -d project ] || [ -f build.sbt ]; then\n  sbt ${TRAVIS_SCALA_VERSION:+\"++$TRAVIS_SCALA_VERSION\"} test\nelse\n  mvn test -B\nfi"
        }
        "clojure" => "lein test",
        "elixir" => "mix test",
        "erlang" => {
            "if [ -f rebar.config ] || [ -f Rebar.config ]; then\n  rebar3 eunit\nelse\n  make test\nfi"
        }
        "haskell" => "cabal test",
        "julia" => "julia --project -e 'using Pkg; Pkg.build(); Pkg.test(coverage=true)'",
        "r" => "R CMD build . && R CMD check --as-cran ./*.tar.gz",
        "d" => "dub test",
        "crystal" => "crystal spec",
        "dart" => "dart test",
        _ => return None,
    })
}

const NODE_INSTALL: &str = "\
if [ -f yarn.lock ]; then
  yarn --frozen-lockfile
elif [ -f package-lock.json ] || [ -f npm-shrinkwrap.json ]; then
  npm ci
elif [ -f package.json ]; then
  npm install
fi";

const RUBY_INSTALL: &str = "\
if [ -f \"${BUNDLE_GEMFILE:-Gemfile}\" ]; then
  bundle config set --local path vendor/bundle
  bundle install --jobs=3 --retry=3
fi";

const JVM_INSTALL: &str = "\
if [ -f gradlew ]; then
  ./gradlew assemble
elif [ -f build.gradle ]; then
  gradle assemble
elif [ -f mvnw ]; then
  ./mvnw install -DskipTests=true -Dmaven.javadoc.skip=true -B -V
elif [ -f pom.xml ]; then
  mvn install -DskipTests=true -Dmaven.javadoc.skip=true -B -V
fi";

const JVM_SCRIPT: &str = "\
if [ -f gradlew ]; then
  ./gradlew check
elif [ -f build.gradle ]; then
  gradle check
elif [ -f mvnw ]; then
  ./mvnw test -B
elif [ -f pom.xml ]; then
  mvn test -B
else
  ant test
fi";
