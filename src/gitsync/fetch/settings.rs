//! libgit2's process-global settings. They are the reason why a fetch has a process of its own.

use std::fs;
use std::path::Path;

use git2::{ConfigLevel, opts};

use super::{FetchError, FetchRequest};

/// Silence that ends a connection, at most.
const LONGEST_SILENCE_MS: u64 = 30_000;

/// Applies what a request needs to this process: time limits, authorities, memory, and no configuration of others.
///
/// # Errors
/// When a setting is refused.
///
/// Only for a process that does nothing but this fetch, before it has a second thread.
pub fn apply(request: &FetchRequest) -> Result<(), FetchError> {
    limit_resources(request)?;
    let authority = match &request.authority {
        Some(pem) => Some(write_authority(request, pem)?),
        None => None,
    };
    let silence = request.timeout_ms.min(LONGEST_SILENCE_MS);
    set_globals(
        i32::try_from(silence).unwrap_or(i32::MAX),
        authority.as_deref(),
    )
    .map_err(|error| FetchError::Tls(error.message().to_owned()))
}

/// Memory, and the size of what is written: the last line behind the counts that a server can lie about.
fn limit_resources(request: &FetchRequest) -> Result<(), FetchError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Data, limit(request.limits.memory))
        .and_then(|()| setrlimit(Resource::Core, limit(0)))
        .map_err(|error| FetchError::Worker(format!("failed to limit resources: {error}")))
}

/// Certificates reach OpenSSL by a file only. They are public.
fn write_authority(request: &FetchRequest, pem: &str) -> Result<std::path::PathBuf, FetchError> {
    let mut name = request.repository.as_os_str().to_owned();
    name.push(".ca.crt");
    let path = std::path::PathBuf::from(name);
    let failed = |error: std::io::Error| FetchError::Repository {
        detail: format!("failed to write {}: {error}", path.display()),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(&path, pem).map_err(failed)?;
    Ok(path)
}

#[allow(unsafe_code)]
fn set_globals(silence_ms: i32, authority: Option<&Path>) -> Result<(), git2::Error> {
    // SAFETY: libgit2 reads these settings without locks. The caller has one thread yet, so nobody reads while we write.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(silence_ms)?;
        opts::set_server_timeout_in_milliseconds(silence_ms)?;
        // Nobody's configuration may rewrite URLs, add headers or name proxies.
        for level in [
            ConfigLevel::System,
            ConfigLevel::Global,
            ConfigLevel::XDG,
            ConfigLevel::ProgramData,
        ] {
            opts::set_search_path(level, "/dev/null")?;
        }
        // The folder may belong to another user where a volume says so: nothing in it is run.
        opts::set_verify_owner_validation(false)?;
        if let Some(path) = authority {
            opts::set_ssl_cert_file(path)?;
        }
    }
    Ok(())
}
