//! The steps of a start and the causes of failures: lists that grow, apart from the kind that uses them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The causes of failures.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Cause {
    /// No node has room, or none fits.
    Unschedulable,
    /// A quota is used up.
    QuotaExceeded,
    /// A policy or webhook of the cluster refused the pod.
    AdmissionDenied,
    /// The image does not exist.
    ImageNotFound,
    /// The registry refused our credentials.
    ImageAuth,
    /// The registry did not answer as it should.
    ImagePullTransient,
    /// The container can't be made from the configuration.
    ConfigInvalid,
    /// The home volume is not bound.
    VolumeBind,
    /// The home volume can't be mounted.
    VolumeMount,
    /// The home volume belongs to somebody else.
    VolumeForeign,
    /// The node refused the pod.
    NodeRejected,
    /// The pod was evicted.
    Evicted,
    /// The node is gone.
    NodeLost,
    /// It used more memory than its limit.
    OutOfMemory,
    /// Something outside killed it.
    KilledExternally,
    /// The command fails again and again.
    CrashLoop,
    /// The command ended.
    MainExited,
    /// The tools could not be mounted.
    ToolsUnavailable,
    /// The Git server refused our credentials, or there are none or two that fit.
    CloneAuth,
    /// The repository, or what should be checked out of it, does not exist.
    CloneRef,
    /// The Git server could not be reached, or did not answer as it should.
    CloneNetwork,
    /// Something else ended a clone, for example a full volume.
    CloneFailed,
    /// A start command failed or took too long.
    PostStartFailed,
    /// The editor does not answer.
    EditorNotReady,
    /// The editor can't run in this image.
    EditorIncompatible,
    /// A sealed set or a Secret that its variables come from can't be used.
    VariablesUnavailable,
    /// The class is missing, invalid, or does not allow this.
    ClassInvalid,
    /// The API server refused an object.
    ApplyRejected,
    /// The pod does not go away.
    StopStuck,
    /// It took too long, and nothing better explains it.
    StartupTimeout,
}

/// A step of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineStep {
    /// Which step.
    pub step: StartStep,
    /// When it was done, counted from the request to start, in milliseconds.
    pub at_milliseconds: i64,
    /// How long it took after the step before it, in milliseconds.
    pub milliseconds: i64,
}

/// Steps of a start. Cloning and start commands go on beside the later ones: a pod is ready without them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum StartStep {
    /// The objects were applied.
    Applied,
    /// A pod was made.
    PodCreated,
    /// The pod has a node.
    Scheduled,
    /// The pod's sandbox, volumes and network are there.
    SandboxReady,
    /// The node refused to mount the tools, and the start went over to copying them.
    ToolsRefused,
    /// The images are there and the main container runs.
    ContainerStarted,
    /// The network of the workspace is attached.
    NetworkAttached,
    /// Files and variables are there.
    FilesPresent,
    /// The projects are cloned.
    Cloned,
    /// The start commands have run.
    PostStartDone,
    /// The editor answers.
    EditorReady,
    /// The pod is ready.
    PodReady,
    /// The workspace is Running.
    Running,
}
