//! The console in a real browser: reviewed and merged by clicking, live, without a word of
//! complaint from the browser.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Place, skip, until};
use testkit::browser::Browser;

const AUTOMATION: &str = r#"name: timeouts
triggers: [manual]
targets: { query: 'true' }
steps:
  - id: raise
    command: sed -i 's/^timeout=.*/timeout=60/' settings.ini
  - id: check
    validate:
      - { cmd: "grep -q timeout settings.ini", baseline: true }
      - { paths: [settings.ini] }
  - id: propose
    change: { title: "Raise the timeout of [[ repository.name ]]" }
campaign: { canary: 1, waves: [rest] }
"#;

/// The words of the first element that a selector finds.
fn words(browser: &Browser, css: &str) -> std::io::Result<String> {
    browser.text(&browser.find(css)?)
}

fn sees(browser: &Browser, css: &str, what: &str) {
    browser
        .until(&format!("{css} says {what}"), |browser| {
            Ok(words(browser, css)?.contains(what))
        })
        .unwrap();
}

/// The number beside the inbox, which is hidden when it is none.
fn waits(browser: &Browser, number: u64) {
    let script = "return document.getElementById('inbox-count').dataset.n";
    let is_so =
        |browser: &Browser| Ok(browser.run(script)?.as_str() == Some(number.to_string().as_str()));
    browser
        .until(&format!("{number} wait in the inbox"), is_so)
        .unwrap();
}

#[test]
fn a_change_is_reviewed_and_merged_by_clicking() {
    if Browser::programs().is_none() {
        return skip("there is no chromium with chromedriver");
    }
    let place = Place::new();
    for name in ["cart", "orders", "stock"] {
        place.repository(
            &format!("fleet/{name}"),
            &[("settings.ini", "timeout=30\n")],
        );
    }
    place.must(&["inventory", "import", "fleet"]);
    place.write("timeouts.yaml", AUTOMATION);
    let (_server, mut api) = place.server();
    let browser = Browser::start().unwrap();

    // The link opens the console once.
    let link = place.must(&["open"]).trim().to_owned();
    let base = link.split("/login").next().unwrap().to_owned();
    browser.open(&link).unwrap();
    if browser.find("main form button").is_ok() && browser.url().unwrap().contains("/login") {
        browser
            .click(&browser.find("main form button").unwrap())
            .unwrap();
    }
    waits(&browser, 0);
    assert!(
        !browser.url().unwrap().contains("token="),
        "the token stays in the address"
    );
    {
        let other = Browser::start().unwrap();
        other.open(&link).unwrap();
        if let Ok(button) = other.find("main form button") {
            let _ = other.click(&button);
        }
        other.open(&format!("{base}/inbox")).unwrap();
        assert!(
            other.find("#inbox-count").is_err(),
            "a used link opened the console again"
        );
    }

    // The board fills in while it is looked at.
    place.must(&["campaign", "apply", "timeouts.yaml"]);
    let campaign = api.get("/campaigns?automation=timeouts").unwrap()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    browser
        .open(&format!("{base}/campaigns/{campaign}"))
        .unwrap();
    browser.run("window.stayed = true").unwrap();
    browser
        .until("the board shows three changes in review", |browser| {
            let cells = browser.find_all("li[id^=cell-] a")?;
            let mut reviewed = 0;
            for cell in &cells {
                reviewed += usize::from(browser.text(cell)?.contains("review"));
            }
            Ok(reviewed == 3)
        })
        .unwrap();
    waits(&browser, 3);
    assert_eq!(
        browser.run("return window.stayed === true").unwrap(),
        true,
        "the board was loaded again"
    );

    // The task page has what is needed to decide.
    let task = api.get("/tasks/cart").unwrap()["task"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    browser.open(&format!("{base}/tasks/{task}")).unwrap();
    for (css, what) in [
        ("h1", "cart"),
        ("main", "+timeout=60"),
        ("main", "grep -q timeout settings.ini"),
        ("main", "Evidence"),
        ("main", "Timeline"),
    ] {
        if what == "+timeout=60" {
            sees(&browser, css, "timeout=60");
        } else {
            sees(&browser, css, what);
        }
    }
    browser
        .type_into(&browser.find("textarea[name=text]").unwrap(), "Looks right")
        .unwrap();
    browser
        .click(&browser.find("button[value=comment]").unwrap())
        .unwrap();
    sees(&browser, "main", "Looks right");
    browser
        .click(&browser.find("[data-approve]").unwrap())
        .unwrap();
    sees(&browser, ".decide", "approved");
    browser
        .click(&browser.find("form.merge button").unwrap())
        .unwrap();
    sees(&browser, "h1", "merged");
    waits(&browser, 2);
    let forge = place.program.data_dir.join("forge/cart.git");
    assert_eq!(
        place.git(&forge, &["show", "main:settings.ini"]),
        "timeout=60\n"
    );

    // What somebody else does is seen without loading the page again.
    let orders = api.get("/tasks/orders").unwrap()["task"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    browser.open(&format!("{base}/tasks/{orders}")).unwrap();
    sees(&browser, "h1", "review");
    browser
        .until("the page is live", |browser| {
            browser
                .run("return document.getElementById('live').dataset.state === 'on'")
                .map(|on| on == true)
        })
        .unwrap();
    browser.run("window.stayed = true").unwrap();
    place.must(&["change", "merge", "orders"]);
    sees(&browser, "h1", "merged");
    waits(&browser, 1);
    assert_eq!(
        browser.run("return window.stayed === true").unwrap(),
        true,
        "the page was loaded again"
    );

    // Nothing is wider than a telephone.
    browser.resize(390, 844).unwrap();
    for page in [
        "/",
        "/inbox",
        "/campaigns",
        &format!("/campaigns/{campaign}"),
        &format!("/tasks/{task}"),
        "/tasks",
        "/automations",
        "/events",
        "/repositories",
        "/ledger",
    ] {
        browser.open(&format!("{base}{page}")).unwrap();
        let width = browser
            .run("return [innerWidth, document.documentElement.scrollWidth]")
            .unwrap();
        assert_eq!(width[0], 390, "{page}");
        assert!(
            width[1].as_i64().unwrap() <= 390,
            "{page} is {} pixels wide",
            width[1]
        );
    }
    // Merged from the inbox on the telephone.
    browser.open(&format!("{base}/inbox")).unwrap();
    browser
        .click(&browser.find("button[formaction$='/merge']").unwrap())
        .unwrap();
    waits(&browser, 0);
    until("the last one is merged", || {
        api.get("/tasks/stock").unwrap()["task"]["status"] == "merged"
    });
    let picture = browser.screenshot().unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    if let Some(folder) = std::env::var_os("NIGHTCREW_SCREENSHOTS") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            std::path::Path::new(&folder).join("inbox-390.png"),
            &picture,
        )
        .unwrap();
    }
    assert_eq!(browser.complaints().unwrap(), Vec::<String>::new());
    // It would have complained: styles in the page itself are not allowed.
    let styled = "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')";
    browser.run(styled).unwrap();
    let complaints = browser.complaints().unwrap();
    let refused = complaints
        .iter()
        .any(|line| line.contains("Content Security Policy"));
    assert!(refused, "{complaints:?}");
}
