//! The image's HEALTHCHECK: an extension of Docker's to the configuration.

use serde::Deserialize;

/// The image's HEALTHCHECK: an extension of Docker's to the configuration, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// Docker\'s `test`.
    pub test: Vec<String>,
    /// Docker\'s `interval`.
    pub interval: u64,
    /// Docker\'s `timeout`.
    pub timeout: u64,
    /// Docker\'s `start_period`.
    pub start_period: u64,
    /// Docker\'s `start_interval`.
    pub start_interval: u64,
    /// Docker\'s `retries`.
    pub retries: u32,
}

impl HealthCheck {
    /// Reads the HEALTHCHECK of an image from its configuration.
    #[must_use]
    pub(crate) fn of_image(configuration: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outer {
            config: Option<Inner>,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(rename = "Healthcheck")]
            check: Option<HealthCheck>,
        }
        // Nearly no image has one: then its configuration is not parsed a second time.
        let name = b"Healthcheck";
        configuration.windows(name.len()).any(|window| window == name).then_some(())?;
        serde_json::from_slice::<Outer>(configuration).ok()?.config?.check
    }
}
