//! Sessions on the command line, as a person sees them.

mod common;

use common::{Place, until};
use insta::assert_snapshot;
use serde_json::{Value, json};

const TIMEOUTS: &str = r#"name: timeouts
description: Raises every timeout to 60 seconds.
triggers: [manual]
targets:
  query: 'repo.files.exists(f, f == "settings.ini")'
steps:
  - id: raise
    command: |
      sed -i 's/^timeout=.*/timeout=60/' settings.ini
      echo raised
      printf '{"lines": %s}' "$(wc -l < settings.ini)" > "$NIGHTCREW_OUT/outputs.json"
  - id: check
    validate:
      - { cmd: "grep -q timeout settings.ini", baseline: true }
      - { paths: [settings.ini] }
  - id: measure
    report:
      outputs: { lines: int }
  - id: propose
    change:
      title: "Raise the timeout of [[ repository.name ]]"
campaign:
  canary: 1
  waves: [rest]
"#;

/// Three repositories, of which `stock` has nothing to change, and the automation.
fn fleet() -> Place {
    let place = Place::new();
    place.repository("fleet/cart", &[("settings.ini", "timeout=30\n")]);
    place.repository("fleet/orders", &[("settings.ini", "timeout=30\n")]);
    place.repository("fleet/stock", &[("settings.ini", "# no limit\n")]);
    place.write("timeouts.yaml", TIMEOUTS);
    place
}

/// The same, imported and with its campaign carried out.
fn campaign() -> Place {
    let place = fleet();
    place.must(&["inventory", "import", "fleet"]);
    place.must(&["campaign", "apply", "timeouts.yaml", "--wait"]);
    place
}

#[test]
fn help_says_what_there_is() {
    let place = Place::new();
    assert_snapshot!(place.transcript(&[&["--help"]]), @r"
    $ nightcrew --help
    Nightcrew: self-hosted background agents, one binary.

    Usage: nightcrew [OPTIONS] <COMMAND>

    Commands:
      up           Run the control plane with its console and an embedded runner
      demo         A fleet, a campaign and its reviews, to look at and play with
      try          Run a command or an automation once on any repository: pushes nothing, shows diff and
                   evidence
      doctor       What this host can enforce, and what is missing
      env          Environments of your own: create, exec, shell, list, snapshot, fork, rm
      automation   Automations: apply, list, start
      campaign     Campaigns: preview, apply, status, pause, resume, retry, close
      task         Tasks: list, show, logs, diff, evidence, retry, cancel
      change       Changes: list, show, approve, request-changes, merge, close, comment
      budget       Budgets: list, show, raise, spend
      stop         The kill switch: stop a task, a campaign, a model, or everything
      inbox        What waits for a person
      approve      Consent to what a task asks
      deny         Say no to what a task asks
      event        Events: send, list, test, replay
      inventory    Repositories: import, list, show
      secret       Secrets: set, list, show, rotate, rm, check, rekey
      ledger       The ledger: show, checkpoint, verify, export
      store        The store: backup, restore, verify
      report       Reported values of a campaign, as a table or CSV
      ci           CI migration: convert a configuration
      open         A fresh link that opens the running console
      schema       The JSON Schema of automation files, for editors
      completions  Completions for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --data-dir <DIR>
              Where state is kept [default: nightcrew under the user's data folder]

              [env: NIGHTCREW_DATA_DIR=]

          --config <FILE>
              Configuration file [default: nightcrew/config.toml under the user's configuration folder]

              [env: NIGHTCREW_CONFIG=]

          --store <ADDRESS>
              Database: sqlite:PATH or postgres://USER@HOST/DATABASE

              [env: NIGHTCREW_STORE=]

          --json
              Answer in JSON, for machines

      -q, --quiet
              Say less

          --accept-weaker
              Go on where the host refuses a layer of isolation

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    First steps:
      nightcrew demo                         a fleet, a campaign, reviews: in a minute
      nightcrew try REPO -- make fmt         what a command would change, pushed nowhere
      nightcrew up                           the control plane with its console
    ");
    assert_snapshot!(place.transcript(&[&["try", "-h"], &["campaign", "-h"], &["ledger", "verify", "-h"]]), @r"
    $ nightcrew try -h
    Run a command or an automation once on any repository: pushes nothing, shows diff and evidence

    Usage: nightcrew try [OPTIONS] <REPOSITORY> [-- <COMMAND>...]

    Arguments:
      <REPOSITORY>  Repository: a folder with a working tree or a bare repository, or a git URL
      [COMMAND]...  Command to run instead of an automation file

    Options:
          --data-dir <DIR>   Where state is kept [default: nightcrew under the user's data folder] [env:
                             NIGHTCREW_DATA_DIR=]
      -f, --file <FILE>      Automation file to run
          --check <COMMAND>  Check to run before and after, beside the built-in ones
          --config <FILE>    Configuration file [default: nightcrew/config.toml under the user's
                             configuration folder] [env: NIGHTCREW_CONFIG=]
          --save <FILE>      Write the automation that was run into this file
          --json             Answer in JSON, for machines
      -q, --quiet            Say less
      -h, --help             Print help (see more with '--help')
    $ nightcrew campaign -h
    Campaigns: preview, apply, status, pause, resume, retry, close

    Usage: nightcrew campaign [OPTIONS] <COMMAND>

    Commands:
      preview  Show what an automation would work on; writes nothing
      apply    Apply an automation file and start its campaign
      list     List campaigns
      status   Show one, with its waves and diff classes
      pause    Start nothing new for now
      resume   Go on, past a gate that held it
      retry    Another round for the failed part only
      close    End it: cancel tasks, close open changes, delete their branches
      help     Print this message or the help of the given subcommand(s)

    Options:
          --data-dir <DIR>  Where state is kept [default: nightcrew under the user's data folder] [env:
                            NIGHTCREW_DATA_DIR=]
          --config <FILE>   Configuration file [default: nightcrew/config.toml under the user's
                            configuration folder] [env: NIGHTCREW_CONFIG=]
          --json            Answer in JSON, for machines
      -q, --quiet           Say less
      -h, --help            Print help (see more with '--help')
    $ nightcrew ledger verify -h
    Verify everything, against checkpoints kept elsewhere if given

    Usage: nightcrew ledger verify [OPTIONS]

    Options:
          --checkpoint <FILE>  File with an earlier checkpoint; may be given several times
          --data-dir <DIR>     Where state is kept [default: nightcrew under the user's data folder]
                               [env: NIGHTCREW_DATA_DIR=]
          --config <FILE>      Configuration file [default: nightcrew/config.toml under the user's
                               configuration folder] [env: NIGHTCREW_CONFIG=]
          --key <KEY>          The key to trust, in signed-note form [default: this data directory's]
          --json               Answer in JSON, for machines
      -q, --quiet              Say less
      -h, --help               Print help (see more with '--help')
    ");
}

#[test]
fn a_try_shows_the_diff_and_pushes_nothing() {
    let place = fleet();
    let refs = |place: &Place| place.git("fleet/cart".as_ref(), &["for-each-ref"]);
    let before = refs(&place);
    assert_snapshot!(place.transcript(&[
        &["try", "fleet/cart", "--check", "test -s settings.ini", "--save", "saved.yaml", "--", "sed -i s/30/60/ settings.ini"],
        &["automation", "check", "saved.yaml"],
        &["try", "fleet/cart", "--", "true"],
        &["try", "fleet/cart", "--", "echo out of order >&2; exit 3"],
        &["try", "fleet/cart"],
    ]), @r"
    $ nightcrew try fleet/cart --check test -s settings.ini --save saved.yaml -- sed -i s/30/60/ settings.ini
    diff --git a/settings.ini b/settings.ini
    index HEX..HEX 100644
    --- a/settings.ini
    +++ b/settings.ini
    @@ -1 +1 @@
    -timeout=30
    +timeout=60
    command  succeeded  N ms
    check  succeeded  N ms
    propose  succeeded  N ms
    ✔ builtin:secrets: no added line looks like a secret
    ✔ builtin:conflict-markers: no added line is a conflict marker
    ✔ test -s settings.ini: nothing fails
    isolation L0, task HEX
    nothing was pushed
    the automation is in saved.yaml; run it over a fleet with `nightcrew campaign apply saved.yaml`
    $ nightcrew automation check saved.yaml
    try: 3 steps, nothing wrong
    $ nightcrew try fleet/cart -- true
    command  succeeded  N ms
    check  succeeded  N ms
    propose  not begun  N ms
    ✔ builtin:secrets: no added line looks like a secret
    ✔ builtin:conflict-markers: no added line is a conflict marker
    isolation L0, task HEX
    the steps ran and left every file as it was
    $ nightcrew try fleet/cart -- echo out of order >&2; exit 3
    command  failed  N ms
    N err out of order
    isolation L0, task HEX
    error: step `command` ended with exit code 3; see its log, then retry the task
    [exit code 1]
    $ nightcrew try fleet/cart
    error: there is nothing to try
    hint: nightcrew try REPO -f automation.yaml, or nightcrew try REPO -- COMMAND
    [exit code 2]
    ");
    assert_eq!(refs(&place), before);
    assert_eq!(
        place.git("fleet/cart".as_ref(), &["status", "--porcelain"]),
        ""
    );
    assert_snapshot!(std::fs::read_to_string(place.path("saved.yaml")).unwrap(), @r#"
    # Written by `nightcrew try`.
    name: try
    triggers: [manual]
    targets:
      query: '!repo.archived'
    steps:
      - id: command
        command: "sed -i s/30/60/ settings.ini"
      - id: check
        validate:
          - builtin:secrets
          - builtin:conflict-markers
          - { cmd: "test -s settings.ini", baseline: true }
      - id: propose
        change:
          title: "sed -i s/30/60/ settings.ini"
          body: ""
    "#);
    let left: Vec<_> = std::fs::read_dir(place.path("."))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("nightcrew-try")),
        "{left:?}"
    );
    assert!(
        !place.program.data_dir.exists(),
        "a try leaves the data directory alone"
    );
}

#[test]
fn an_import_names_the_line_that_is_wrong() {
    let place = fleet();
    place.write(
        "list.txt",
        format!(
            "# mine\n{0}/cart\n{0}/gone\n",
            place.path("fleet").display()
        ),
    );
    assert_snapshot!(place.transcript(&[
        &["inventory", "list"],
        &["inventory", "import", "list.txt"],
        &["inventory", "import", "fleet"],
        &["inventory", "list"],
    ]), @r"
    $ nightcrew inventory list
    the inventory is empty; fill it with `nightcrew inventory import FOLDER`
    $ nightcrew inventory import list.txt
    warning: line 3: DIR/fleet/gone: there is no git repository at DIR/fleet/gone (line 3)
    1 repositories imported, 1 not
    [exit code 1]
    $ nightcrew inventory import fleet
    warning: DIR/fleet/cart: repository cart exists already
    2 repositories imported, 1 not
    [exit code 1]
    $ nightcrew inventory list
    REPOSITORY  BRANCH  HEAD          FILES  LANGUAGES
    cart        main    HEX  1
    orders      main    HEX  1
    stock       main    HEX  1
    ");
}

#[test]
fn a_wrong_automation_is_told_by_file_line_and_column() {
    let place = Place::new();
    place.write(
        "key.yaml",
        "name: x\ntriggers: [manual]\nsteps:\n  - comand: 'true'\n",
    );
    place.write("broken.yaml", "name: x\nsteps: [\n");
    place.write("query.yaml", "name: x\ntriggers: [manual]\ntargets: { query: 'repo.name ==' }\nsteps:\n  - command: 'true'\n");
    assert_snapshot!(place.transcript(&[
        &["automation", "check", "key.yaml"],
        &["automation", "check", "broken.yaml"],
        &["automation", "check", "query.yaml"],
        &["automation", "check", "gone.yaml"],
        &["campaign", "preview", "key.yaml"],
    ]), @r"
    $ nightcrew automation check key.yaml
    error: key.yaml:4:5: unknown field `comand`, expected one of id, when, command, validate, change, report, approve, timeout, retries, env
    hint: did you mean `command`?
    [exit code 2]
    $ nightcrew automation check broken.yaml
    error: broken.yaml:2:8: unclosed bracket '['
    [exit code 2]
    $ nightcrew automation check query.yaml
    error: query.yaml:3:1: `repo.name ==` is no condition: ERROR: <input>:1:13: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
    | repo.name ==
    | ............^
    [exit code 2]
    $ nightcrew automation check gone.yaml
    error: failed to read gone.yaml: No such file or directory (os error 2)
    [exit code 1]
    $ nightcrew campaign preview key.yaml
    error: key.yaml:4:5: unknown field `comand`, expected one of id, when, command, validate, change, report, approve, timeout, retries, env
    hint: did you mean `command`?
    [exit code 2]
    ");
}

#[test]
fn a_campaign_is_previewed_carried_out_reviewed_and_closed() {
    let place = fleet();
    assert_snapshot!(place.transcript(&[
        &["inventory", "import", "fleet"],
        &["campaign", "preview", "timeouts.yaml"],
        &["task", "list"],
        &["campaign", "apply", "timeouts.yaml", "--wait"],
        &["task", "list"],
        &["task", "show", "stock"],
        &["task", "logs", "cart"],
        &["task", "diff", "cart"],
        &["inbox"],
        &["change", "show", "cart"],
        &["change", "approve", "orders"],
        &["change", "merge", "orders", "--method", "squash"],
        &["change", "request-changes", "cart", "-m", "Make it 90"],
        &["inbox"],
        &["report", "timeouts"],
        &["report", "timeouts", "--csv"],
        &["task", "show", "nobody"],
    ]), @r"
    $ nightcrew inventory import fleet
    3 repositories imported, 0 not
    $ nightcrew campaign preview timeouts.yaml
    WAVE  TARGET
    0     cart
    1     orders
    1     stock
    3 tasks; nothing is known of their cost, and nothing caps it
    3 of 3 repositories; nothing was written
    $ nightcrew task list
    no task matches
    $ nightcrew campaign apply timeouts.yaml --wait
    timeouts  active  3 targets
    STATE        TASKS
    ◆ in_review  2
    – no_change  1
    WAVE  TARGETS  SETTLED  BAD  PROPOSED  MERGED
    0     1        1        0    1         0
    1     2        2        0    1         0
    REVIEW CLASS  CHANGES  OPEN  FOR EXAMPLE
    HEX      2        2     cart
    $ nightcrew task list
    TASK      REPOSITORY  STATE        CHANGE  WHAT
    HEX  cart        ◆ in_review  #1
    HEX  orders      ◆ in_review  #1
    HEX  stock       – no_change          the steps ran and left every file as it was
    $ nightcrew task show stock
    stock  – no_change
    tsk_HEX
      the steps ran and left every file as it was
    STEP     KIND      ATTEMPT  OUTCOME    WALL
    raise    command   1        succeeded  N ms
    check    validate  1        succeeded  N ms
    measure  report    1        succeeded  N ms
    propose  change    1        stopped    N ms
    VALIDATOR                     VERDICT  NEW FAILURES  DETAIL
    grep -q timeout settings.ini  passed   0             1 failure, all of them before the change already
    paths                         passed   0             every touched path is within bounds
    $ nightcrew task logs cart
    N out raised
    N note on the base: grep -q timeout settings.ini
    N note with the change: grep -q timeout settings.ini
    N note grep -q timeout settings.ini: passed: nothing fails
    N note paths: passed: every touched path is within bounds
    $ nightcrew task diff cart
    diff --git a/settings.ini b/settings.ini
    index HEX..HEX 100644
    --- a/settings.ini
    +++ b/settings.ini
    @@ -1 +1 @@
    -timeout=30
    +timeout=60
    $ nightcrew inbox
    TASK      REPOSITORY  STATE        CHANGE  WHAT
    HEX  orders      ◆ in_review  #1
    HEX  cart        ◆ in_review  #1
    $ nightcrew change show cart
    Raise the timeout of cart  open
    nightcrew/timeouts/HEX-HEX


    diff --git a/settings.ini b/settings.ini
    index HEX..HEX 100644
    --- a/settings.ini
    +++ b/settings.ini
    @@ -1 +1 @@
    -timeout=30
    +timeout=60
    $ nightcrew change approve orders
    orders is now ◆ in_review
    $ nightcrew change merge orders --method squash
    orders is now ✔ merged
    $ nightcrew change request-changes cart -m Make it 90
    cart is now … waiting
    $ nightcrew inbox
    TASK      REPOSITORY  STATE               CHANGE  WHAT
    HEX  cart        … waiting (person)  #1      person:tester wants changes: Make it 90; retry the task, or push to its branch
    $ nightcrew report timeouts
    target  status     lines
    cart    waiting    1
    orders  merged     1
    stock   no_change  1
    $ nightcrew report timeouts --csv
    target,status,lines
    cart,waiting,1
    orders,merged,1
    stock,no_change,1
    $ nightcrew task show nobody
    error: there is no task `nobody`
    hint: `nightcrew task list` lists them
    [exit code 1]
    ");
    assert_eq!(place.branches("cart").len(), 2);
    assert_snapshot!(place.transcript(&[&["campaign", "close", "timeouts"], &["task", "list"]]), @r"
    $ nightcrew campaign close timeouts
    campaign cmp_HEX is now closed
    $ nightcrew task list
    TASK      REPOSITORY  STATE        CHANGE  WHAT
    HEX  cart        ⊘ cancelled  #1      its campaign was closed
    HEX  orders      ✔ merged     #1      merged by person:tester as HEX
    HEX  stock       – no_change          the steps ran and left every file as it was
    ");
    assert_eq!(place.branches("cart"), ["main"]);
    assert_eq!(place.branches("orders"), ["main"]);
    let forge = place.program.data_dir.join("forge/orders.git");
    assert_eq!(
        place.git(&forge, &["show", "main:settings.ini"]),
        "timeout=60\n"
    );
}

#[test]
fn a_task_tells_its_facts_and_its_evidence() {
    let place = campaign();
    assert_snapshot!(place.transcript(&[&["task", "facts", "cart"]]), @r"
    $ nightcrew task facts cart
    AT                       BY            FACT
    TIME  system        created
    TIME  runner:local  claimed
    TIME  runner:local  prepared
    TIME  runner:local  step started
    TIME  runner:local  step finished
    TIME  runner:local  step started
    TIME  runner:local  validated
    TIME  runner:local  step finished
    TIME  runner:local  step started
    TIME  runner:local  step finished
    TIME  runner:local  step started
    TIME  runner:local  step finished
    TIME  runner:local  proposed
    TIME  system        submitted
    TIME  system        review opened
    ");
    let evidence = place.json(&["task", "evidence", "cart"]);
    assert_eq!(evidence["validators"].as_array().unwrap().len(), 2);
    assert_eq!(
        evidence["diff"],
        json!({"files": 1, "insertions": 1, "deletions": 1})
    );
    assert_eq!(evidence["outputs"]["measure"], json!({"lines": 1}));
}

#[test]
fn answers_for_machines_are_json() {
    let place = campaign();
    for arguments in [
        &["automation", "list"][..],
        &["automation", "show", "timeouts"],
        &["automation", "check", "timeouts.yaml"],
        &["campaign", "list"],
        &["campaign", "preview", "timeouts.yaml"],
        &["campaign", "status", "timeouts"],
        &["task", "list"],
        &["task", "show", "cart"],
        &["task", "facts", "cart"],
        &["task", "evidence", "cart"],
        &["change", "list"],
        &["change", "show", "cart"],
        &["inbox"],
        &["event", "list"],
        &["inventory", "list"],
        &["inventory", "show", "cart"],
        &["ledger", "show"],
        &["ledger", "verify"],
        &["store", "verify"],
        &["report", "timeouts"],
        &["schema"],
        &["try", "fleet/cart", "--", "rm settings.ini"],
    ] {
        let answer = place.json(arguments);
        assert!(!answer.is_null(), "{arguments:?}");
    }
    assert_eq!(
        place.json(&["task", "list", "--status", "in_review"])["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn the_ledger_is_verified_against_a_checkpoint_kept_elsewhere() {
    let place = campaign();
    place.write("kept.txt", place.must(&["ledger", "checkpoint"]));
    place.must(&["change", "merge", "cart"]);
    let verified = place.must(&["ledger", "verify", "--checkpoint", "kept.txt"]);
    assert!(verified.starts_with("✔ "), "{verified}");
    // A checkpoint of somebody else proves nothing.
    let other = campaign();
    place.write("other.txt", other.must(&["ledger", "checkpoint"]));
    let refused = place.say(&["ledger", "verify", "--checkpoint", "other.txt"]);
    assert_eq!(refused.code, Some(1), "{}{}", refused.out, refused.err);
    let exported = place.must(&["ledger", "export"]);
    let size = place.json(&["ledger", "show"])["size"].as_u64().unwrap();
    assert!(exported.lines().count() as u64 >= size, "{size}");
}

#[test]
fn a_backup_restores_into_a_new_data_directory() {
    let place = campaign();
    place.must(&["store", "backup", "all.backup"]);
    let fresh = place.path("fresh");
    std::fs::create_dir(&fresh).unwrap();
    for folder in ["blobs", "forge", "keys"] {
        let done = std::process::Command::new("cp")
            .arg("-a")
            .arg(place.program.data_dir.join(folder))
            .arg(&fresh)
            .status();
        assert!(done.unwrap().success());
    }
    let restored = place.say_on(&fresh, &["store", "restore", "all.backup"]);
    assert_eq!(restored.code, Some(0), "{}", restored.err);
    for arguments in [
        &["task", "list"][..],
        &["event", "list"],
        &["report", "timeouts", "--csv"],
        &["task", "diff", "cart"],
    ] {
        let there = place.say_on(&fresh, arguments);
        assert_eq!(there.out, place.must(arguments), "{arguments:?}");
    }
    let verified = place.say_on(&fresh, &["ledger", "verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    // What holds something is never overwritten.
    let refused = place.say_on(&fresh, &["store", "restore", "all.backup"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
}

#[test]
fn an_event_sent_twice_is_one_event() {
    let place = fleet();
    place.must(&["inventory", "import", "fleet"]);
    place.write(
        "on-push.yaml",
        TIMEOUTS
            .replace("[manual]", "[push]")
            .replace("name: timeouts", "name: on-push"),
    );
    place.must(&["automation", "apply", "on-push.yaml"]);
    let event = json!({"source": "me", "type": "push", "subject": {"repository": "cart", "branch": "main"}, "dedupe_key": "1", "actor": "person:me"});
    place.write("event.json", event.to_string());
    place.write("broken.json", "{\"source\": \n");
    let test: Value = serde_json::from_str(&place.must(&["event", "test", "event.json"])).unwrap();
    assert_eq!(test["fires"].as_array().unwrap().len(), 1, "{test}");
    let list = place.json(&["event", "list"]);
    assert_eq!(
        list["items"].as_array().unwrap().len(),
        0,
        "a test writes nothing: {list}"
    );
    let first: Value = serde_json::from_str(&place.must(&["event", "send", "event.json"])).unwrap();
    let second: Value =
        serde_json::from_str(&place.must(&["event", "send", "event.json"])).unwrap();
    assert_eq!(
        (&first["duplicate"], &second["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["event"], second["event"]);
    assert_eq!(first["runs"].as_array().unwrap().len(), 1);
    assert_eq!(second["runs"].as_array().unwrap().len(), 0);
    assert_snapshot!(place.transcript(&[&["event", "list"], &["event", "send", "broken.json"]]), @r#"
    $ nightcrew event list
    EVENT                                 TYPE  ABOUT  BY         RECEIVED
    evt_HEX  push  cart   person:me  TIME
    $ nightcrew event send broken.json
    error: broken.json:2:0: EOF while parsing a value at line 2 column 0
    hint: an event looks like {"source":"me","type":"push","subject":{"repository":"x"},"dedupe_key":"1","actor":"person:me"}
    [exit code 2]
    "#);
}

#[test]
fn a_push_into_the_forge_fires_once() {
    let place = fleet();
    place.must(&["inventory", "import", "fleet"]);
    let on_push = TIMEOUTS
        .replace("[manual]", "[{push: {repository: cart}}]")
        .replace("name: timeouts", "name: on-push");
    place.write("on-push.yaml", on_push);
    place.must(&["automation", "apply", "on-push.yaml"]);
    let (_server, mut api) = place.server();
    let bare = place
        .program
        .data_dir
        .join("forge/cart.git")
        .display()
        .to_string();
    place.git(".".as_ref(), &["clone", "-q", &bare, "work"]);
    place.write("work/more.txt", "more\n");
    place.commit(&place.path("work"), "More");
    place.git("work".as_ref(), &["push", "-q", "origin", "main"]);
    let campaigns = |api: &mut testkit::api::Api| {
        let list = api.get("/campaigns?automation=on-push").unwrap();
        list["items"].as_array().unwrap().clone()
    };
    until("the push started its campaign", || {
        campaigns(&mut api).len() == 1
    });
    until("both changes are proposed", || {
        api.get("/tasks?status=in_review").unwrap()["items"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    // A second push is news that is read after the first one's: by then a repetition would show.
    place.write("work/more.txt", "and more\n");
    place.commit(&place.path("work"), "And more");
    place.git("work".as_ref(), &["push", "-q", "origin", "main"]);
    let pushes = |api: &mut testkit::api::Api| {
        let events = api.get("/events?limit=100").unwrap();
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["type"] == "push" && event["subject"]["branch"] == "main")
            .count()
    };
    until("the second push is known", || pushes(&mut api) == 2);
    // What is in review is left in review; only the third target is looked at again.
    until("its run joined the campaign", || {
        campaigns(&mut api)[0]["targets"] == 4
    });
    assert_eq!((campaigns(&mut api).len(), pushes(&mut api)), (1, 2));
    assert_eq!(place.branches("cart").len(), 2);
}
