//! Who may use the API and the console: one person, known by a token that stays on this machine.

use std::collections::VecDeque;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::service::Actor;

/// One-time tokens that may wait to be used.
const MOST_TOKENS: usize = 16;
/// Browsers that may be signed in.
const MOST_SESSIONS: usize = 64;

/// The API token, the one-time tokens that sign browsers in, and the sessions these got. Sessions
/// live in memory: they end with the process.
#[derive(Debug)]
pub struct Auth {
    api_token: String,
    person: String,
    roles: Vec<String>,
    tokens: Mutex<VecDeque<[u8; 32]>>,
    sessions: Mutex<VecDeque<Kept>>,
}

/// Of a session only the hash of its cookie is kept.
#[derive(Debug)]
struct Kept {
    cookie: [u8; 32],
    csrf: String,
}

impl Auth {
    /// Access for one person, who holds every role.
    #[must_use]
    pub fn new(api_token: impl Into<String>, person: impl Into<String>) -> Self {
        Self {
            api_token: api_token.into(),
            person: person.into(),
            roles: vec![
                "author".to_owned(),
                "reviewer".to_owned(),
                "operator".to_owned(),
            ],
            tokens: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The same with these roles.
    #[must_use]
    pub fn with_roles(mut self, roles: Vec<String>) -> Self {
        self.roles = roles;
        self
    }

    /// A token that signs one browser in, once. Empty when the system has no random bytes.
    #[must_use]
    pub fn one_time_token(&self) -> String {
        let Some(token) = secret() else {
            return String::new();
        };
        if let Ok(mut tokens) = self.tokens.lock() {
            if tokens.len() == MOST_TOKENS {
                tokens.pop_front();
            }
            tokens.push_back(hash(&token));
        }
        token
    }

    /// The person behind every request.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor {
            name: format!("person:{}", self.person),
            roles: self.roles.clone(),
        }
    }

    /// Whether this is the API token.
    pub(crate) fn is_api_token(&self, given: &str) -> bool {
        // Hashes of equal length: the comparison says nothing about where they differ.
        !self.api_token.is_empty() && hash(given) == hash(&self.api_token)
    }

    /// Uses a one-time token up; the value of the session cookie, or `None` for no such token.
    pub(crate) fn sign_in(&self, token: &str) -> Option<String> {
        let wanted = hash(token);
        let mut tokens = self.tokens.lock().ok()?;
        let at = tokens.iter().position(|kept| *kept == wanted)?;
        tokens.remove(at);
        drop(tokens);
        let (cookie, csrf) = (secret()?, secret()?);
        let mut sessions = self.sessions.lock().ok()?;
        if sessions.len() == MOST_SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back(Kept {
            cookie: hash(&cookie),
            csrf,
        });
        Some(cookie)
    }

    /// The CSRF token of the session with this cookie.
    pub(crate) fn session(&self, cookie: &str) -> Option<String> {
        let wanted = hash(cookie);
        let sessions = self.sessions.lock().ok()?;
        sessions
            .iter()
            .find(|kept| kept.cookie == wanted)
            .map(|kept| kept.csrf.clone())
    }

    /// Ends a session.
    pub(crate) fn sign_out(&self, cookie: &str) {
        let wanted = hash(cookie);
        if let Ok(mut sessions) = self.sessions.lock() {
            sessions.retain(|kept| kept.cookie != wanted);
        }
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// 32 random bytes as text.
fn secret() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_time_token_signs_in_once() {
        let auth = Auth::new("api", "ada");
        let token = auth.one_time_token();
        let cookie = auth.sign_in(&token).unwrap();
        assert!(auth.session(&cookie).is_some());
        assert_eq!(auth.sign_in(&token), None);
        auth.sign_out(&cookie);
        assert_eq!(auth.session(&cookie), None);
    }

    #[test]
    fn an_empty_api_token_opens_nothing() {
        assert!(!Auth::new("", "ada").is_api_token(""));
        assert!(Auth::new("api", "ada").is_api_token("api"));
    }
}
