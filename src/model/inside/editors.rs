//! Editors: what a class offers, and which one a Workspace gets.

use std::collections::BTreeSet;

use workstead_link::{EDITOR_PATH, EDITOR_PORT, Editor, Libc, Needs};

use crate::api::class::ToolsDelivery;
use crate::api::editors::{self, ClassEditor, EditorNeeds};
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure};
use crate::model::class::ValidatedClass;
use crate::model::identity::{EndpointPort, ImageReference};
use crate::model::inside::projects::ShortName;

/// What a Workspace writes that wants no editor.
pub const NO_EDITOR: &str = "none";
/// The lowest port that an editor may have: programs of a workspace have no right to lower ones.
const LEAST_PORT: u16 = 1024;

/// An editor that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedEditor {
    /// What it is called.
    pub name: ShortName,
    /// Its image, by digest.
    pub image: ImageReference,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// What it answers once it is ready.
    pub readiness_path: String,
    /// Architectures that it is built for; none, any.
    pub architectures: BTreeSet<String>,
    /// The oldest glibc; none, it needs none.
    pub glibc: Option<String>,
    /// Whether Workspaces get it that name none.
    pub default: bool,
}

impl ValidatedEditor {
    /// As the first process is told of it.
    pub(super) fn to_link(&self) -> Editor {
        Editor {
            name: self.name.to_string(),
            command: self.command.clone(),
            port: self.port,
            ready_path: self.readiness_path.clone(),
            needs: Needs {
                architectures: self.architectures.iter().cloned().collect(),
                libc: self.glibc.clone().map(|min| Libc::Glibc { min: Some(min) }),
            },
            folder: EDITOR_PATH.to_owned(),
        }
    }
}

/// How tools get in, as a class says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassTools {
    /// Mounted, copied, or as it works.
    pub delivery: ToolsDelivery,
    /// Their image; none, that of the installation.
    pub image: Option<ImageReference>,
}

impl ClassTools {
    /// Reads what a class says.
    pub(crate) fn of(written: Option<&editors::ClassTools>) -> Result<Self, String> {
        let Some(written) = written else {
            return Ok(Self::default());
        };
        let image = written.image.as_deref().map(ImageReference::new);
        Ok(Self {
            delivery: written.delivery.unwrap_or_default(),
            image: image.transpose().map_err(|error| error.to_string())?,
        })
    }
}

/// Checks one editor of a class.
pub(crate) fn editor(written: &ClassEditor) -> Result<ValidatedEditor, String> {
    let name = ShortName::new(&written.name)?;
    if name.as_str() == NO_EDITOR {
        return Err("none stands for no editor: choose another name".to_owned());
    }
    let image = ImageReference::new(&written.image).map_err(|error| error.to_string())?;
    if !image.is_pinned() {
        return Err(format!(
            "the image {image} may change: write registry/name@sha256: and its 64 hexadecimal digits"
        ));
    }
    let program = written.command.first().map_or("", String::as_str);
    if program.is_empty() || written.command.iter().any(|word| word.contains('\0')) {
        return Err(
            "command has no program, or a NUL character: write the program's path in the image"
                .to_owned(),
        );
    }
    let port = written.port.unwrap_or(EDITOR_PORT);
    let ours = port != EDITOR_PORT && EndpointPort::RESERVED.contains(&port);
    if port < LEAST_PORT || ours {
        return Err(format!(
            "port {port} can't be: write {LEAST_PORT} to 65535, but not 60003, 60004 or 60022"
        ));
    }
    let readiness_path = written
        .readiness_path
        .clone()
        .unwrap_or_else(|| "/".to_owned());
    if !readiness_path.starts_with('/') || !readiness_path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(
            "readinessPath begins with '/' and has no spaces: write for example /healthz"
                .to_owned(),
        );
    }
    let needs = written.needs.clone().unwrap_or_default();
    check_needs(&needs)?;
    Ok(ValidatedEditor {
        name,
        image,
        command: written.command.clone(),
        port,
        readiness_path,
        architectures: needs.architectures.into_iter().collect(),
        glibc: needs.glibc,
        default: written.default.unwrap_or(false),
    })
}

fn check_needs(needs: &EditorNeeds) -> Result<(), String> {
    let known = |name: &String| matches!(name.as_str(), "amd64" | "arm64");
    if let Some(unknown) = needs.architectures.iter().find(|name| !known(name)) {
        return Err(format!(
            "architecture '{unknown}' is not known: write amd64 or arm64"
        ));
    }
    let is_number =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let is_version =
        |text: &str| (2..=3).contains(&text.split('.').count()) && text.split('.').all(is_number);
    match &needs.glibc {
        Some(text) if !is_version(text) => Err(format!(
            "'{text}' is no version of glibc: write for example \"2.28\""
        )),
        _ => Ok(()),
    }
}

/// The editor that a Workspace gets of its class.
pub(super) fn chosen(
    named: Option<&str>,
    class: &ValidatedClass,
) -> Result<Option<ValidatedEditor>, Failure> {
    let Some(name) = named else {
        return Ok(class.editors.iter().find(|editor| editor.default).cloned());
    };
    if name == NO_EDITOR {
        return Ok(None);
    }
    let found = class
        .editors
        .iter()
        .find(|editor| editor.name.as_str() == name);
    match found {
        Some(editor) => Ok(Some(editor.clone())),
        None => Err(unknown(name, class)),
    }
}

fn unknown(name: &str, class: &ValidatedClass) -> Failure {
    let mut offered: Vec<&str> = class
        .editors
        .iter()
        .map(|editor| editor.name.as_str())
        .collect();
    offered.push(NO_EDITOR);
    let offered = offered.join(", ");
    Failure {
        cause: Cause::ClassInvalid,
        blame: Blame::User,
        message: format!(
            "spec.editor is '{name}', and class '{}' offers {offered}",
            class.name
        ),
        evidence: format!("spec.editors of WorkspaceClass '{}': {offered}", class.name),
        retryable: false,
        next_step: "write one of these in spec.editor, or choose another class".to_owned(),
        since: None,
    }
}
