//! Settings that are one of a few words: each word with what it means.

use crate::config::CaLimits;
use crate::config::LogFormat;
use crate::config::NotifyFormat;
use crate::config::Place;
use crate::config::SelfCheck;
use crate::core::bundle::KeyType;
use crate::decide::classify::ReplaceForeign;

/// What is said with one of a few words.
pub(super) trait Words: Copy + PartialEq + 'static {
    /// Each word; the first of those that mean the same is shown.
    const WORDS: &'static [(&'static str, Self)];

    /// What a word means, in any case.
    fn read(text: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, meaning)| *meaning)
    }

    /// The word for it.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, meaning)| *meaning == self);
        found.map_or("", |(word, _)| *word)
    }
}

/// All words of a kind.
pub(super) fn all<T: Words>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

impl Words for bool {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("true", true),
        ("false", false),
        ("yes", true),
        ("no", false),
        ("1", true),
        ("0", false),
    ];
}

impl Words for CaLimits {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("letsencrypt", Self::LetsEncrypt), ("none", Self::None)];
}

impl Words for Place {
    const WORDS: &'static [(&'static str, Self)] =
        &[("rancher", Self::Rancher), ("host", Self::Host)];
}

impl Words for KeyType {
    const WORDS: &'static [(&'static str, Self)] =
        &[("ec256", Self::Ec256), ("rsa2048", Self::Rsa2048)];
}

impl Words for SelfCheck {
    const WORDS: &'static [(&'static str, Self)] =
        &[("require", Self::Require), ("warn", Self::Warn), ("off", Self::Off)];
}

impl Words for ReplaceForeign {
    const WORDS: &'static [(&'static str, Self)] =
        &[("due", Self::Due), ("never", Self::Never), ("always", Self::Always)];
}

impl Words for NotifyFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("text", Self::Text)];
}

impl Words for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
