//! How registries of images are reached.

use std::collections::BTreeMap;

use recipe::oci::Reference;
pub use recipe::oci::registry::Credentials;
use recipe::oci::registry::RegistryOptions;
use recipe::{Image, ImageSource};

use super::RootError;

/// How registries are reached.
#[derive(Clone, Default)]
pub struct Registries {
    /// The host of images of a `devcontainer.json` whose names have none; such names are refused if absent.
    pub default_host: Option<String>,
    /// Who we are, by host as names of images have it. Sent to no other.
    pub credentials: BTreeMap<String, Credentials>,
    /// Hosts (with port) that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Certificates in PEM that are trusted in place of the usual ones.
    pub certificates: Option<Vec<u8>>,
    /// An HTTP proxy, as in `http://proxy.example:3128`.
    pub proxy: Option<String>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither credentials nor a proxy's password belong into a log.
        f.debug_struct("Registries")
            .field("default_host", &self.default_host)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

impl Registries {
    /// How the registry of this image is reached.
    pub(super) fn options(&self, image: &Image) -> Result<RegistryOptions, RootError> {
        let host = match &image.source {
            ImageSource::Registry(reference) => Some(reference.parse::<Reference>()?.registry),
            ImageSource::Layout(_) | ImageSource::Tarball(_) => None,
        };
        Ok(RegistryOptions {
            credentials: host.and_then(|host| self.credentials.get(&host).cloned()),
            plain_http: self.plain_http.clone(),
            certificates: self.certificates.clone(),
            proxy: self.proxy.clone(),
            ..RegistryOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_host_they_are_for_and_to_no_other() {
        let ada = Credentials {
            user: "ada".to_owned(),
            password: "secret".to_owned(),
        };
        let registries = Registries {
            credentials: BTreeMap::from([("registry.example".to_owned(), ada.clone())]),
            ..Registries::default()
        };
        let of = |name: &str| {
            let image = Image {
                source: ImageSource::Registry(name.to_owned()),
                digest: None,
            };
            registries.options(&image).unwrap().credentials
        };
        assert!(of("registry.example/a:1") == Some(ada));
        assert!(of("registry.example:444/a:1").is_none());
        assert!(of("other.example/registry.example/a:1").is_none());
    }
}
