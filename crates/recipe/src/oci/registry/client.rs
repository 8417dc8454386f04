//! Requests, tokens and redirects. The only file that knows the HTTP library.
//!
//! Redirects are followed here and not by the library, so that three rules hold: credentials and tokens
//! go to the host they are for; an answer over TLS never leads to one without; and nobody leads us to a
//! host without TLS that we were not told to use. The last also keeps a registry from making us ask
//! services of this machine or its cloud.

use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::RegistryOptions;
use super::auth::{Challenge, basic, encode};
use crate::Error;
use crate::oci::manifest::{LISTS, MANIFESTS};
use crate::oci::reference::{Reference, is_loopback};

/// Most redirects of one request.
const REDIRECTS: usize = 5;
/// Largest answer of a token service, in bytes.
const TOKEN: u64 = 1 << 20;
/// Longest header of an answer, in bytes.
const HEADER: usize = 64 * 1024;

/// A registry, for one repository.
pub(super) struct Client {
    agent: Agent,
    registry: String,
    repository: String,
    options: RegistryOptions,
    /// What to send as `Authorization`, once known.
    authorization: Mutex<Option<String>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// By tag or digest.
    Manifest(&'a str),
    /// By digest.
    Blob(&'a str),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(reference: &Reference, options: RegistryOptions) -> Result<Self, Error> {
        let error = |problem: &str| Error::Registry {
            registry: reference.registry.clone(),
            problem: problem.to_owned(),
        };
        let mut tls = TlsConfig::builder();
        if let Some(pem) = &options.certificates {
            let mut certificates = Vec::new();
            for item in ureq::tls::parse_pem(pem) {
                match item {
                    Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                    Ok(_) => {}
                    Err(_) => return Err(error("the certificates are not PEM")),
                }
            }
            if certificates.is_empty() {
                return Err(error("there is no certificate in the certificates"));
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let proxy = options.proxy.as_deref().map(ureq::Proxy::new).transpose();
        let proxy = proxy.map_err(|_| error("the proxy is no URL that can be used"))?;
        let patience = Some(options.patience);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Given, even if none: else the library looks at variables of this process.
            .proxy(proxy)
            .tls_config(tls.build())
            .user_agent("nightcrew")
            .max_response_header_size(HEADER)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_send_request(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            registry: reference.registry.clone(),
            repository: reference.name.clone(),
            options,
            authorization: Mutex::new(None),
        })
    }

    /// The body of what is asked for, of which no more than `most` bytes are wanted.
    pub(super) fn get(&self, wanted: Wanted<'_>, most: u64) -> Result<impl Read + use<>, Error> {
        let (kind, name, accept) = match wanted {
            Wanted::Manifest(name) => ("manifests", name, [MANIFESTS, LISTS].concat().join(", ")),
            Wanted::Blob(name) => ("blobs", name, "*/*".to_owned()),
        };
        let what = wanted.what();
        let scheme = if self.is_plain(&self.registry) {
            "http"
        } else {
            "https"
        };
        let url = format!(
            "{scheme}://{}/v2/{}/{kind}/{name}",
            self.registry, self.repository
        );
        let (mut response, at_home) = self.follow(&url, &accept, &what)?;
        // What another host asks for, a redirect has led us to: it is told nothing.
        if response.status().as_u16() == 401 && at_home {
            self.authorize(&response, &what)?;
            (response, _) = self.follow(&url, &accept, &what)?;
        }
        match response.status().as_u16() {
            200 => {
                let body = response.into_body().into_with_config();
                Ok(self.in_time(body.limit(u64::MAX).reader(), most))
            }
            404 => Err(Error::NotFound {
                registry: self.registry.clone(),
                what: format!("{what} of {}", self.repository),
            }),
            401 | 403 => Err(self.refused(&what, self.why_refused())),
            429 => Err(self.error("it has had too many requests; wait, then try again")),
            status => Err(self.error(format!("it answered {status} to the request for {what}"))),
        }
    }

    /// What a failed read says about the registry.
    pub(super) fn failed(&self, what: &str, error: &io::Error) -> Error {
        self.error(format!("{what} did not arrive: {error}"))
    }

    fn why_refused(&self) -> &'static str {
        match self.options.credentials {
            Some(_) => "the credentials are not enough",
            None => "it wants credentials; configure some, or check the name",
        }
    }

    /// Gives up an answer that comes too slowly for its size.
    fn in_time<R: Read>(&self, reader: R, most: u64) -> InTime<R> {
        let patience = self.options.patience;
        let time = Duration::from_secs(most / self.options.slowest.max(1));
        InTime {
            reader,
            // One that is too far away for the clock is none.
            end: Instant::now().checked_add(patience.saturating_add(time)),
        }
    }

    /// The last answer on the way, and whether it is the registry's own.
    fn follow(&self, url: &str, accept: &str, what: &str) -> Result<(Response<Body>, bool), Error> {
        let mut url: Uri = url
            .parse()
            .map_err(|_| self.error("its name makes no URL"))?;
        let home = origin(&url);
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url).header(header::ACCEPT, accept);
            // Blobs are wanted as they are stored.
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if origin(&url) == home
                && let Some(authorization) = &*self
                    .authorization
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
            {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request
                .call()
                .map_err(|error| self.error(format!("{what} could not be asked for: {error}")))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, origin(&url) == home));
            }
            let location = response
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| self.error("it redirects to nowhere"))?;
            url = self.next(&url, location)?;
        }
        Err(self.error(format!("it redirects more than {REDIRECTS} times")))
    }

    /// Where a redirect leads, if we may go there.
    fn next(&self, from: &Uri, location: &str) -> Result<Uri, Error> {
        let shown =
            || crate::error::clean(location.split('?').next().unwrap_or_default().as_bytes());
        let wrong = || self.error(format!("it redirects to `{}`, which is no URL", shown()));
        let absolute = if location.starts_with('/') && !location.starts_with("//") {
            let authority = from.authority().ok_or_else(wrong)?;
            format!(
                "{}://{authority}{location}",
                from.scheme_str().unwrap_or("https")
            )
        } else {
            location.to_owned()
        };
        let url: Uri = absolute.parse().map_err(|_| wrong())?;
        let authority = url.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(self.error("it redirects to a URL with credentials in it"));
        }
        // From a host without TLS, which was allowed, others without TLS are allowed if they are, too.
        let plain = url.scheme_str() == Some("http")
            && from.scheme_str() == Some("http")
            && self.is_plain(authority.as_str());
        if url.scheme_str() == Some("https") || plain {
            Ok(url)
        } else {
            Err(self.error(format!(
                "it redirects to `{}`, which is without TLS",
                shown()
            )))
        }
    }

    fn authorize(&self, response: &Response<Body>, what: &str) -> Result<(), Error> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let mut challenges = challenges
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?));
        let credentials = self.options.credentials.as_ref();
        let basic = credentials.map(|one| basic(&one.user, &one.password));
        let authorization = match challenges.next() {
            None => {
                return Err(self.refused(
                    what,
                    "it asks for a kind of authentication that is not supported",
                ));
            }
            Some(Challenge::Basic) => {
                basic.ok_or_else(|| self.refused(what, self.why_refused()))?
            }
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let token = self.token(
                    &realm,
                    service.as_deref(),
                    scope.as_deref(),
                    basic.as_deref(),
                    what,
                )?;
                format!("Bearer {token}")
            }
        };
        *self
            .authorization
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
        Ok(())
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        basic: Option<&str>,
        what: &str,
    ) -> Result<String, Error> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let url: Uri = realm
            .parse()
            .map_err(|_| self.error("it names a token service that is no URL"))?;
        let authority = url
            .authority()
            .map(|authority| authority.as_str().to_owned());
        let authority =
            authority.ok_or_else(|| self.error("it names a token service that is no URL"))?;
        // Credentials go there: only over TLS, or beside a registry that has none either.
        let plain = self.is_plain(&self.registry) && self.is_plain(&authority);
        if url.scheme_str() != Some("https") && !plain {
            return Err(self.error(format!(
                "it names a token service without TLS: {}",
                crate::error::clean(authority.as_bytes())
            )));
        }
        let default = format!("repository:{}:pull", self.repository);
        let mut query = format!("scope={}", encode(scope.unwrap_or(&default)));
        if let Some(service) = service {
            query = format!("service={}&{query}", encode(service));
        }
        let separator = if url.query().is_some() { '&' } else { '?' };
        let mut request = self.agent.get(format!("{url}{separator}{query}"));
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let response = request
            .call()
            .map_err(|error| self.error(format!("its token service does not answer: {error}")))?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(self.refused(what, self.why_refused())),
            status => return Err(self.error(format!("its token service answered {status}"))),
        }
        let body = response.into_body().into_with_config();
        let mut bytes = Vec::new();
        self.in_time(body.limit(TOKEN).reader(), TOKEN)
            .read_to_end(&mut bytes)
            .map_err(|error| self.error(format!("its token service failed: {error}")))?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let fine =
            |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        token
            .filter(fine)
            .ok_or_else(|| self.error("its token service gave no token"))
    }

    /// Whether a host is spoken to without TLS.
    fn is_plain(&self, authority: &str) -> bool {
        let listed = self.options.plain_http.iter().any(|host| host == authority);
        listed || (self.options.plain_loopback && is_loopback(authority))
    }

    fn refused(&self, what: &str, problem: &str) -> Error {
        Error::Refused {
            registry: self.registry.clone(),
            what: what.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Registry {
            registry: self.registry.clone(),
            problem: problem.into(),
        }
    }
}

/// A body that must be over at some time: the library's own patience begins anew with every byte.
struct InTime<R> {
    reader: R,
    end: Option<Instant>,
}

impl<R: Read> Read for InTime<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it comes too slowly for its size",
            ));
        }
        self.reader.read(buffer)
    }
}

impl Wanted<'_> {
    fn what(&self) -> String {
        match self {
            Self::Manifest(name) => format!("manifest {name}"),
            Self::Blob(name) => format!("blob {name}"),
        }
    }
}

/// Scheme, host and port.
fn origin(url: &Uri) -> (Option<String>, Option<String>) {
    (
        url.scheme_str().map(str::to_owned),
        url.authority()
            .map(|authority| authority.as_str().to_ascii_lowercase()),
    )
}
