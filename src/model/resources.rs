//! Requests and limits: the class's defaults under the user's wishes, within the class's caps.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::shared::{Quantity, Resources};
use crate::model::quantity::Amount;

/// Amounts by the name of the resource.
pub type Amounts = BTreeMap<String, Amount>;

/// Resources that every container may use without asking; a cap on one becomes its limit.
const SHARED: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// What the container gets: valid for the API server, and within the caps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatedResources {
    /// What the scheduler sets aside.
    pub requests: Amounts,
    /// What the container may use at most.
    pub limits: Amounts,
}

/// Why resources are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The text is no amount, or the name no resource.
    #[error("{field}: {message}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// More than the class allows.
    #[error("{field} is {asked}, and the class allows {most}")]
    OverCap {
        /// Path of the field.
        field: String,
        /// What was asked for.
        asked: Amount,
        /// The cap.
        most: Amount,
    },
}

/// Checks one resource of a container.
///
/// # Errors
/// A message that says what to write instead.
pub fn resource(name: &str, quantity: &Quantity) -> Result<Amount, String> {
    check_name(name)?;
    let amount = Amount::try_from(quantity).map_err(|error| error.to_string())?;
    if !SHARED.contains(&name) && !amount.is_whole() {
        return Err(format!(
            "{amount} of {name} is not a whole number: write one"
        ));
    }
    Ok(amount)
}

fn check_name(name: &str) -> Result<(), String> {
    let unknown = || {
        format!(
            "there is no resource '{name}': write cpu, memory, ephemeral-storage or the full name of an extended one, for example example.com/gpu"
        )
    };
    if SHARED.contains(&name) {
        return Ok(());
    }
    if let Some(size) = name.strip_prefix("hugepages-") {
        return Amount::parse(size).map(|_| ()).map_err(|_| unknown());
    }
    let Some((domain, short)) = name.split_once('/') else {
        return Err(unknown());
    };
    let of_kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    let short_fits = !short.is_empty()
        && short.len() <= 63
        && short
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && short
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
        && short
            .bytes()
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric());
    let domain_fits =
        crate::model::names::DnsSubdomain::new(domain).is_ok() && domain.len() + 9 <= 253;
    if of_kubernetes || !short_fits || !domain_fits || name.starts_with("requests.") {
        return Err(unknown());
    }
    Ok(())
}

/// Merges the class's defaults under what the user wrote, fills limits from the caps, and checks the result.
///
/// Where only one of request and limit was written by the user, the default of the other gives way to it. A cap on cpu,
/// memory or ephemeral storage is also the limit of a container that names none: without one it could use more.
///
/// # Errors
/// The first field that is wrong or over its cap, in the order of names.
pub fn merge(
    asked: Option<&Resources>,
    default_requests: &Amounts,
    default_limits: &Amounts,
    caps: &Amounts,
) -> Result<ValidatedResources, ResourceError> {
    let none = Resources::default();
    let asked = asked.unwrap_or(&none);
    let asked_requests = read("requests", &asked.requests, caps)?;
    let asked_limits = read("limits", &asked.limits, caps)?;
    let names: BTreeSet<&String> = asked_requests
        .keys()
        .chain(asked_limits.keys())
        .chain(default_requests.keys())
        .chain(default_limits.keys())
        .chain(caps.keys().filter(|name| SHARED.contains(&name.as_str())))
        .collect();
    let mut merged = ValidatedResources::default();
    for name in names {
        let one = Wishes {
            request: asked_requests.get(name).copied(),
            limit: asked_limits.get(name).copied(),
            default_request: default_requests.get(name).copied(),
            default_limit: default_limits.get(name).copied(),
            cap: caps.get(name).copied(),
        };
        let (request, limit) = if SHARED.contains(&name.as_str()) {
            one.shared(name)?
        } else {
            one.exclusive(name)?
        };
        if let Some(request) = request {
            merged.requests.insert(name.clone(), request);
        }
        if let Some(limit) = limit {
            merged.limits.insert(name.clone(), limit);
        }
    }
    if merged
        .limits
        .keys()
        .any(|name| name.starts_with("hugepages-"))
        && !["cpu", "memory"]
            .iter()
            .any(|name| merged.limits.contains_key(*name) || merged.requests.contains_key(*name))
    {
        return Err(ResourceError::Field {
            field: "spec.resources".to_owned(),
            message: "huge pages need cpu or memory beside them: write one of these too".to_owned(),
        });
    }
    Ok(merged)
}

fn read(
    kind: &str,
    written: &BTreeMap<String, Quantity>,
    caps: &Amounts,
) -> Result<Amounts, ResourceError> {
    let mut amounts = Amounts::new();
    for (name, quantity) in written {
        let field = format!("spec.resources.{kind}.{name}");
        let amount = resource(name, quantity).map_err(|message| ResourceError::Field {
            field: field.clone(),
            message,
        })?;
        if let Some(most) = caps.get(name).copied().filter(|most| *most < amount) {
            return Err(ResourceError::OverCap {
                field,
                asked: amount,
                most,
            });
        }
        amounts.insert(name.clone(), amount);
    }
    Ok(amounts)
}

/// What is known about one resource.
struct Wishes {
    request: Option<Amount>,
    limit: Option<Amount>,
    default_request: Option<Amount>,
    default_limit: Option<Amount>,
    cap: Option<Amount>,
}

impl Wishes {
    fn check_order(&self, name: &str) -> Result<(), ResourceError> {
        if let (Some(request), Some(limit)) = (self.request, self.limit)
            && request > limit
        {
            return Err(ResourceError::Field {
                field: format!("spec.resources.requests.{name}"),
                message: format!(
                    "the request {request} is over the limit {limit}: lower the request or raise the limit"
                ),
            });
        }
        Ok(())
    }

    /// cpu, memory, ephemeral storage: a request may be below its limit.
    fn shared(&self, name: &str) -> Result<(Option<Amount>, Option<Amount>), ResourceError> {
        self.check_order(name)?;
        let limit = self
            .limit
            .or_else(|| {
                self.default_limit
                    .map(|limit| self.request.map_or(limit, |r| limit.max(r)))
            })
            .or(self.cap);
        let request = match (self.request, self.default_request, limit) {
            (Some(request), _, _) => Some(request),
            (None, Some(default), Some(limit)) => Some(default.min(limit)),
            (None, Some(default), None) => Some(default),
            // The API server would set the request to the limit: right if the user wrote it, wasteful for a mere cap.
            (None, None, Some(_)) if self.limit.is_none() && self.default_limit.is_none() => {
                Some(Amount::ZERO)
            }
            (None, None, limit) => limit,
        };
        Ok((request, limit))
    }

    /// Extended resources and huge pages: request and limit are one.
    fn exclusive(&self, name: &str) -> Result<(Option<Amount>, Option<Amount>), ResourceError> {
        self.check_order(name)?;
        if let (Some(request), Some(limit)) = (self.request, self.limit)
            && request != limit
        {
            return Err(ResourceError::Field {
                field: format!("spec.resources.requests.{name}"),
                message: format!(
                    "request and limit of {name} are the same: write {limit} in both, or the limit alone"
                ),
            });
        }
        let amount = self
            .limit
            .or(self.request)
            .or(self.default_limit)
            .or(self.default_request);
        Ok((amount, amount))
    }
}

#[cfg(test)]
mod tests;
