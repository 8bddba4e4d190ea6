//! The settings as they are in force, for people: secrets are only said to be set.

use crate::config::CaLimits;
use crate::config::Config;
use crate::config::Delivery;
use crate::config::LogFormat;
use crate::config::NotifyFormat;
use crate::config::SelfCheck;
use crate::core::names::Names;
use crate::decide::classify::ReplaceForeign;

const SET: &str = "set";
const UNSET: &str = "-";

impl Config {
    /// Every variable with the value that is in force, in the order of [`crate::config::SETTINGS`]; of two that mean
    /// the same only the first.
    pub fn in_force(&self) -> Vec<(&'static str, String)> {
        let set = |is_set: bool| if is_set { SET } else { UNSET }.to_owned();
        let boolean = |is_on: bool| if is_on { "True" } else { "False" }.to_owned();
        let or_unset = |text: Option<String>| text.unwrap_or_else(|| UNSET.to_owned());
        let domains: Vec<String> = self.domains.iter().map(Names::to_string).collect();
        let days = self.renew_before.map(|time| time.whole_days().to_string());
        let (destination, folder) = match &self.delivery {
            Delivery::Rancher => ("rancher", None),
            Delivery::Host(folder) => ("host", Some(folder.display().to_string())),
        };
        let of_rancher = |text: String| if folder.is_none() { text } else { UNSET.to_owned() };
        vec![
            ("DESTINATION", destination.to_owned()),
            ("CERTIFICATES_DIR", or_unset(folder.clone())),
            ("CATTLE_URL", of_rancher(self.rancher_url.to_string())),
            ("CATTLE_ACCESS_KEY", of_rancher(SET.to_owned())),
            ("CATTLE_SECRET_KEY", of_rancher(SET.to_owned())),
            ("RANCHER_CA_FILE", set(self.rancher_ca.is_some())),
            ("RANCHER_METADATA_URL", of_rancher(self.metadata_url.to_string())),
            ("DOMAINS", domains.join(", ")),
            ("DYNAMIC_CONFIG", boolean(self.reads_labels)),
            ("STAGING", boolean(self.is_staging)),
            ("CERTBOT_EMAIL", or_unset(self.email.clone())),
            ("RENEW_BEFORE_DAYS", days.unwrap_or_else(|| "automatic".to_owned())),
            ("LOOP_TIME", self.loop_time.as_secs().to_string()),
            ("CERTBOT_WEBROOT", self.webroot.display().to_string()),
            ("LETSENCRYPT_ROOTDIR", self.store.display().to_string()),
            ("ACME_DIRECTORY", self.production_directory.to_string()),
            ("ACME_STAGING_DIRECTORY", self.staging_directory.to_string()),
            ("ACME_CA_FILE", set(self.acme_ca.is_some())),
            (
                "CA_LIMITS",
                match self.ca_limits {
                    CaLimits::Auto => "auto",
                    CaLimits::LetsEncrypt => "letsencrypt",
                    CaLimits::None => "none",
                }
                .to_owned(),
            ),
            (
                "SELF_CHECK",
                match self.self_check {
                    SelfCheck::Require => "require",
                    SelfCheck::Warn => "warn",
                    SelfCheck::Off => "off",
                }
                .to_owned(),
            ),
            ("HOST_CHECK_PORT", self.self_check_port.to_string()),
            ("SELF_CHECK_ADDRESS", or_unset(self.self_check_address.clone())),
            ("CONNECT_TIMEOUT", self.connect_timeout.as_secs().to_string()),
            (
                "REPLACE_FOREIGN",
                match self.replace_foreign {
                    ReplaceForeign::Due => "due",
                    ReplaceForeign::Never => "never",
                    ReplaceForeign::Always => "always",
                }
                .to_owned(),
            ),
            ("CONCURRENCY", self.concurrency.to_string()),
            ("LISTEN", self.listen.map_or_else(|| "off".to_owned(), |address| address.to_string())),
            ("NOTIFY_URL", set(self.notify_url.is_some())),
            (
                "NOTIFY_FORMAT",
                match self.notify_format {
                    NotifyFormat::Json => "json",
                    NotifyFormat::Text => "text",
                }
                .to_owned(),
            ),
            ("HEARTBEAT_URL", set(self.heartbeat_url.is_some())),
            ("LOG", self.log.clone()),
            (
                "LOG_FORMAT",
                match self.log_format {
                    LogFormat::Text => "text",
                    LogFormat::Json => "json",
                }
                .to_owned(),
            ),
        ]
    }
}
