//! The command line: what is asked for, and how answers are written for people and for machines.

use std::fmt::Write;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::config::SETTINGS;

pub mod ask;
pub mod render;

/// A setting is wrong (sysexits.h, EX_USAGE).
pub const BAD_SETTINGS: u8 = 64;
/// Another instance holds the store (sysexits.h, EX_TEMPFAIL).
pub const HELD: u8 = 75;
/// Something needs attention, or could not be done.
pub const ATTENTION: u8 = 1;

/// Certificate daemon: from a name or a label to a certificate that is served.
#[derive(Debug, Parser)]
#[command(version, after_help = "Settings are environment variables; --help lists them.", after_long_help = settings())]
pub struct Arguments {
    /// What is to be done; `run` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default)
    Run,
    /// Make one pass and do what it finds; exit status 0: all well, 1: something needs attention, 64: bad settings,
    /// 75: another instance holds the store
    Once(Form),
    /// Show what a pass would do and why; changes nothing, asks the CA nothing
    Plan(Form),
    /// Show how everything stands: from the running daemon, or from the store when none runs
    Status(Form),
    /// Show everything that is known of one certificate
    Explain {
        /// A name that the certificate is to cover
        name: String,
        /// In which form.
        #[command(flatten)]
        form: Form,
    },
    /// Ask for a new certificate now: skips waits after failures, never the one certificate a day of the same names
    /// nor a limit of the CA
    Renew {
        /// A name that the certificate is to cover
        name: String,
    },
    /// Look at a name as the CA would, without asking it: DNS, CAA, the challenge path over each address; exit status
    /// 0: the CA would succeed, 1: it would fail, 64: bad settings or a bad name
    Check {
        /// The host name
        name: String,
        /// The name server to ask instead of the system's, like 1.1.1.1 or 127.0.0.1:8053
        #[arg(long, value_name = "ADDRESS")]
        dns: Option<String>,
        /// In which form.
        #[command(flatten)]
        form: Form,
    },
    /// Check the settings and show those in force; asks nobody
    CheckConfig(Form),
    /// Ask the daemon in this container whether its loop turns; for HEALTHCHECK
    Healthcheck,
}

/// In which form an answer is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Form {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Every setting, for the help.
fn settings() -> String {
    let mut text = "Settings (environment variables; an empty one counts as unset):\n".to_owned();
    for setting in SETTINGS {
        let plain = |markdown: &str| markdown.replace('`', "");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  {} (default: {})\n      {}\n",
            setting.name,
            plain(setting.default),
            plain(setting.meaning)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_fit_together_and_the_help_has_every_setting() {
        Arguments::command().debug_assert();
        let help = Arguments::command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(help.contains(setting.name), "{}", setting.name);
        }
    }
}
