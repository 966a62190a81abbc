//! libgit2's process-global settings. They are the reason why a fetch has a process of its own.

use std::fs;
use std::path::Path;

use git2::{ConfigLevel, opts};

use super::{FetchError, FetchLimits, FetchRequest};

/// The share of its memory that libgit2 may keep objects in, for itself.
const CACHED_SHARE: u64 = 4;
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
        request.limits,
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
fn set_globals(
    silence_ms: i32,
    authority: Option<&Path>,
    limits: FetchLimits,
) -> Result<(), git2::Error> {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let (objects, object_bytes) = (size(limits.objects), size(limits.object_bytes));
    let cached =
        libc::ssize_t::try_from(limits.memory / CACHED_SHARE).unwrap_or(libc::ssize_t::MAX);
    // SAFETY: libgit2 reads these settings without locks. The caller has one thread yet, so nobody reads while we write.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(silence_ms)?;
        opts::set_server_timeout_in_milliseconds(silence_ms)?;
        // The callbacks of a transfer see counts that the server names. These two hold while it is unpacked, whatever it
        // says; git2 has no names for them.
        for (option, limit) in [
            (libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECTS, objects),
            (libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECT_SIZE, object_bytes),
        ] {
            if libgit2_sys::git_libgit2_opts(option as libc::c_int, limit) < 0 {
                return Err(git2::Error::from_str("libgit2 does not take a limit"));
            }
        }
        opts::set_cache_max_size(cached)?;
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
