//! Tokens of a GitHub App's installation, narrowed to repositories and permissions
//! (`POST /app/installations/ID/access_tokens`).

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

use super::error::FetchError;
use super::http::{Answer, Http, text};
use super::jwt;
use super::name::Context;
use super::reference::GithubApp;

/// Where GitHub's API is.
const API: &str = "https://api.github.com";
/// Seconds before its end at which a token is made anew.
const MARGIN: i64 = 300;
/// Longest life of a token that is believed, in seconds.
const LONGEST_LIFE: i64 = 3600;
/// Seconds by which clocks may differ unnoticed: the App's own token is dated back by as much.
const DRIFT: i64 = 60;
/// Life of the App's own token, in seconds; GitHub takes ten minutes at most.
const OWN_LIFE: i64 = 480;

/// A token and when it is to be made anew.
pub(super) type Minted = (Zeroizing<String>, Timestamp);

/// Names of the repositories the token is for, as GitHub wants them: without their owner.
pub(super) fn repositories(app: &GithubApp, context: &Context) -> Result<Vec<String>, FetchError> {
    let mut names = Vec::new();
    for name in &app.repositories {
        let name = match (name.as_str(), &context.repository) {
            ("@target", Some(target)) => target.rsplit('/').next().unwrap_or(target).to_owned(),
            ("@target", None) => {
                return Err(FetchError::NotConfigured(
                    "the token is for the repository of a task, and this is none".to_owned(),
                ));
            }
            (name, _) => name.to_owned(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Makes a token.
pub(super) fn mint(
    http: &Http,
    api: Option<&str>,
    app: &GithubApp,
    repositories: &[String],
    pem: &str,
    now: Timestamp,
) -> Result<Minted, FetchError> {
    let mut answer = ask(http, api, app, repositories, pem, now)?;
    let theirs = answer.date.unwrap_or(now);
    let ahead = now.duration_since(theirs).as_secs();
    if answer.status == 401 && ahead.abs() > DRIFT / 2 {
        // Dated by their clock it may be taken; if not, the clock was not the reason.
        tracing::warn!(
            seconds = ahead,
            "the clock of this host differs from GitHub's"
        );
        answer = ask(http, api, app, repositories, pem, theirs)?;
        if answer.status == 401 {
            return Err(FetchError::Clock {
                seconds: ahead,
                said: answer.said(),
            });
        }
    }
    let json = answer.json()?;
    let token = text(&json["token"], "token")?;
    let end = json["expires_at"]
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok());
    let end = end.ok_or_else(|| FetchError::Malformed("it has no `expires_at`".to_owned()))?;
    let narrowed = json["repositories"].as_array().map_or(0, Vec::len);
    if json["repository_selection"].as_str() == Some("all") || narrowed > repositories.len() {
        return Err(FetchError::Malformed(
            "the token is for more repositories than were asked for".to_owned(),
        ));
    }
    // Counted by their clock, kept by ours.
    let life = end
        .duration_since(answer.date.unwrap_or(now))
        .as_secs()
        .clamp(0, LONGEST_LIFE);
    let until = now
        .checked_add(SignedDuration::from_secs((life - MARGIN).max(0)))
        .unwrap_or(now);
    Ok((token, until))
}

fn ask(
    http: &Http,
    api: Option<&str>,
    app: &GithubApp,
    repositories: &[String],
    pem: &str,
    now: Timestamp,
) -> Result<Answer, FetchError> {
    let claims =
        json!({"iss": app.app, "iat": now.as_second() - DRIFT, "exp": now.as_second() + OWN_LIFE});
    let own = jwt::rs256(pem, None, &claims)?;
    let bearer = Zeroizing::new(format!("Bearer {}", *own));
    let base = api.unwrap_or(API).trim_end_matches('/');
    let url = format!(
        "{base}/app/installations/{}/access_tokens",
        app.installation
    );
    let body = json!({"repositories": repositories, "permissions": app.permissions}).to_string();
    let headers = [
        ("accept", "application/vnd.github+json"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-github-api-version", "2022-11-28"),
    ];
    http.post(&url, &headers, body.as_bytes())
}
