//! Renewals that a person has asked for: a file each, left by the command line, taken by the daemon.

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::names::DomainName;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::publish::folder_name;

/// A renewal that a person has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalRequest {
    /// Primary name of the certificate.
    pub certificate: DomainName,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub asked_at: OffsetDateTime,
    /// When the daemon has lifted its waits: what fails after that waits as ever.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub taken_at: Option<OffsetDateTime>,
}

impl RenewalRequest {
    /// Nobody means today what was asked for this long ago.
    const FORGOTTEN_AFTER: Duration = Duration::days(7);

    /// Whether nobody waits for it any more; also if a clock that was ahead has written it.
    pub fn is_forgotten(&self, now: OffsetDateTime) -> bool {
        let is_old = self.asked_at.saturating_add(Self::FORGOTTEN_AFTER) <= now;
        is_old || now.saturating_add(Duration::DAY) < self.asked_at
    }
}

const FOLDER: &str = "renew";

impl<D: Disk> Store<D> {
    /// Leaves or changes a request. The folder is made with it.
    pub fn ask_renewal(&self, request: &RenewalRequest) -> Result<(), StoreError> {
        let folder = self.own(FOLDER);
        self.disk.make_folder(&folder).during("make the folder", &folder)?;
        self.write_json(&folder, &file(&request.certificate), request)
    }

    /// Every request. One that cannot be read as such is set aside.
    pub fn renewal_requests(&self) -> Result<Vec<RenewalRequest>, StoreError> {
        let folder = self.own(FOLDER);
        let mut requests = Vec::new();
        for name in self.list_or_nothing(&folder)? {
            if name.starts_with('.') || !name.ends_with(".json") {
                continue;
            }
            let path = folder.join(name);
            match self.read_json::<RenewalRequest>(&path)? {
                Some(Ok(request)) if path.ends_with(file(&request.certificate)) => {
                    requests.push(request)
                }
                Some(Ok(_)) => self.set_aside(&path, "its name is not that of its certificate")?,
                Some(Err(why)) => self.set_aside(&path, &why)?,
                None => {}
            }
        }
        Ok(requests)
    }

    /// Notes that the waits of a request were lifted, unless another one was left in its place by now.
    pub fn take_renewal(&self, request: &RenewalRequest) -> Result<(), StoreError> {
        if self.is_there(request)? { self.ask_renewal(request) } else { Ok(()) }
    }

    /// Forgets a request, unless another one was left in its place by now.
    pub fn drop_renewal(&self, request: &RenewalRequest) -> Result<(), StoreError> {
        if !self.is_there(request)? {
            return Ok(());
        }
        let path = self.own(FOLDER).join(file(&request.certificate));
        self.disk.remove(&path, Safe::Now).during("remove", &path)
    }

    fn is_there(&self, request: &RenewalRequest) -> Result<bool, StoreError> {
        let path = self.own(FOLDER).join(file(&request.certificate));
        let present = self.read_json::<RenewalRequest>(&path)?;
        Ok(matches!(present, Some(Ok(present)) if present.asked_at == request.asked_at))
    }
}

fn file(certificate: &DomainName) -> String {
    format!("{}.json", folder_name(certificate))
}
