//! The inventory: every object that a GitSync keeps, as text for sharded ConfigMaps.
//!
//! Status is lost on a restore and objects are limited to 1.5 MiB, so it lives in ConfigMaps that the GitSync owns. An
//! entry stays in its shard for life: then a widened inventory is a superset of the old one shard by shard, and a crash
//! between two writes forgets nothing. Write the highest shard first when widening (shard 0 names their number); when
//! narrowing write shard 0 first and delete the spare ones last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::api::gitsync::SyncedKind;
use crate::api::{GROUP, VERSION};
use crate::model::sync::{ObjectId, Plan};

/// `data` of each ConfigMap, by shard.
pub type Shards = BTreeMap<u32, BTreeMap<String, String>>;

/// Key of the entries.
const ENTRIES: &str = "entries";
/// Key of the layout's version.
const FORMAT: &str = "format";
/// Key of the number of shards, in shard 0.
const SHARDS: &str = "shards";
/// Key of [`Inventory::base`], in shard 0.
const BASE: &str = "guardBase";
/// Last word of the line of a guarded entry.
const GUARDED: &str = " guarded";
/// The layout that is written.
const FORMAT_1: &str = "1";
/// A shard takes new entries up to this size; well below the 1 MiB of a ConfigMap.
const SHARD_BYTES: usize = 512 * 1024;
/// More shards than this can't be ours: about four million objects.
const MAX_SHARDS: u32 = 1024;

/// One object that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// The API version that it was applied with.
    pub version: String,
    /// Digest of what was applied; empty until it was.
    pub digest: String,
    /// The generation that we left; 0 until it was applied.
    pub generation: i64,
    /// It left the tree in a commit that emptied it: it goes only by approval, whatever the commits since then say.
    pub guarded: bool,
    shard: u32,
}

impl InventoryEntry {
    /// Whether it was applied, as far as we know: an entry is written before its object.
    pub fn is_applied(&self) -> bool {
        !self.digest.is_empty()
    }
}

/// Why an inventory can't be read. It is then rebuilt from live labels, and nothing is deleted in that pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// There is no shard 0.
    #[error("the inventory is missing")]
    Missing,
    /// A shard is missing.
    #[error("shard {0} of the inventory is missing")]
    ShardMissing(u32),
    /// It was written by another version.
    #[error(
        "shard {shard} of the inventory has format '{format}', this version reads '{FORMAT_1}'"
    )]
    Format {
        /// Which shard.
        shard: u32,
        /// What it says.
        format: String,
    },
    /// A line can't be read.
    #[error("line {line} of shard {shard} of the inventory can't be read")]
    Line {
        /// Which shard.
        shard: u32,
        /// From 1.
        line: usize,
    },
}

/// Every object that a GitSync keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<ObjectId, InventoryEntry>,
    /// How many objects that count there were when the guard first held the deletes that it still holds. A share is of
    /// this number: otherwise the objects that come with a blocked commit would make room for its deletes.
    base: Option<usize>,
    /// It was rebuilt from live labels in this pass: nothing may be deleted for it.
    rebuilt: bool,
}

impl Inventory {
    /// An inventory made from live objects that carry our labels, after the stored one was lost.
    pub fn rebuild(live: impl IntoIterator<Item = ObjectId>) -> Self {
        let mut inventory = Self {
            rebuilt: true,
            ..Self::default()
        };
        inventory.widen(live);
        inventory
    }

    /// Whether it was rebuilt in this pass.
    pub fn is_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its entry of this object.
    pub fn get(&self, id: &ObjectId) -> Option<&InventoryEntry> {
        self.entries.get(id)
    }

    /// Whether it lists this object.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.entries.contains_key(id)
    }

    /// All entries, in the order of applying.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &InventoryEntry)> {
        self.entries.iter()
    }

    /// Adds what is about to be applied; entries that are there stay as they are.
    pub fn widen(&mut self, ids: impl IntoIterator<Item = ObjectId>) {
        let mut room = self.shard_sizes();
        for id in ids {
            if self.entries.contains_key(&id) {
                continue;
            }
            let mut entry = InventoryEntry {
                version: VERSION.to_owned(),
                digest: String::new(),
                generation: 0,
                guarded: false,
                shard: 0,
            };
            let size = entry_size(&id);
            entry.shard = match room.iter().find(|(_, used)| *used + size <= SHARD_BYTES) {
                Some((shard, _)) => *shard,
                None => room.keys().next_back().map_or(0, |last| last + 1),
            };
            *room.entry(entry.shard).or_default() += size;
            self.entries.insert(id, entry);
        }
    }

    /// Notes what was applied.
    pub fn applied(&mut self, id: &ObjectId, digest: &str, generation: i64) {
        self.widen([id.clone()]);
        if let Some(entry) = self.entries.get_mut(id) {
            VERSION.clone_into(&mut entry.version);
            digest.clone_into(&mut entry.digest);
            entry.generation = generation;
        }
    }

    /// How many objects of kinds whose deletes count there are, or were when the guard began to hold what it holds.
    pub fn base(&self) -> usize {
        // What was never applied, perhaps since the server refuses it, makes no room for deletes.
        let count = self
            .entries
            .iter()
            .filter(|(id, entry)| id.kind.is_stateful() && entry.is_applied())
            .count();
        self.base.map_or(count, |base| base.min(count))
    }

    /// Keeps what the guard has to remember over the passes, before this plan's applies widen the inventory.
    pub fn note_guard(&mut self, plan: &Plan) {
        self.base = plan.holds_deletes().then(|| self.base());
        for (id, entry) in &mut self.entries {
            entry.guarded = plan.guarded.contains(id);
        }
    }

    /// Takes out what does not live any more, or is not ours.
    pub fn remove(&mut self, id: &ObjectId) {
        self.entries.remove(id);
    }

    /// As text: `data` of each ConfigMap. The same entries in the same shards give the same bytes.
    pub fn encode(&self) -> Shards {
        let count = self
            .entries
            .values()
            .map(|e| e.shard + 1)
            .max()
            .unwrap_or(1);
        let mut texts: BTreeMap<u32, String> = (0..count).map(|n| (n, String::new())).collect();
        for (id, entry) in &self.entries {
            let digest = if entry.digest.is_empty() {
                "-"
            } else {
                &entry.digest
            };
            // Writing to a String can't fail.
            let _ = writeln!(
                texts.entry(entry.shard).or_default(),
                "{} {} {digest} {}{}",
                key(id),
                entry.version,
                entry.generation,
                if entry.guarded { GUARDED } else { "" }
            );
        }
        texts
            .into_iter()
            .map(|(shard, text)| {
                let mut data = BTreeMap::from([
                    (FORMAT.to_owned(), FORMAT_1.to_owned()),
                    (ENTRIES.to_owned(), text),
                ]);
                if shard == 0 {
                    data.insert(SHARDS.to_owned(), count.to_string());
                    if let Some(base) = self.base {
                        data.insert(BASE.to_owned(), base.to_string());
                    }
                }
                (shard, data)
            })
            .collect()
    }

    /// From text. Shards beyond the number that shard 0 names are read too: they are what a crash left of a write.
    ///
    /// # Errors
    /// When a shard is missing or a line can't be read.
    pub fn decode(shards: &Shards) -> Result<Self, InventoryError> {
        let first = shards.get(&0).ok_or(InventoryError::Missing)?;
        let count: u32 = first
            .get(SHARDS)
            .and_then(|text| text.parse().ok())
            .filter(|count| (1..=MAX_SHARDS).contains(count))
            .ok_or(InventoryError::Missing)?;
        if let Some(missing) = (0..count).find(|n| !shards.contains_key(n)) {
            return Err(InventoryError::ShardMissing(missing));
        }
        let mut entries = BTreeMap::new();
        for (&shard, data) in shards {
            match data.get(FORMAT).map(String::as_str) {
                Some(FORMAT_1) => {}
                other => {
                    return Err(InventoryError::Format {
                        shard,
                        format: other.unwrap_or_default().to_owned(),
                    });
                }
            }
            let text = data.get(ENTRIES).map_or("", String::as_str);
            for (index, line) in text.lines().enumerate() {
                let (id, entry) = parse(line, shard).ok_or(InventoryError::Line {
                    shard,
                    line: index + 1,
                })?;
                entries.insert(id, entry);
            }
        }
        Ok(Self {
            entries,
            base: first.get(BASE).and_then(|text| text.parse().ok()),
            rebuilt: false,
        })
    }

    fn shard_sizes(&self) -> BTreeMap<u32, usize> {
        let mut sizes = BTreeMap::from([(0, 0)]);
        for (id, entry) in &self.entries {
            *sizes.entry(entry.shard).or_default() += entry_size(id);
        }
        sizes
    }
}

/// Name of the ConfigMap that holds a shard.
pub fn inventory_name(gitsync: &str, shard: u32) -> String {
    let name = format!("{gitsync}-inventory-{shard}");
    if name.len() <= 253 {
        return name;
    }
    // A name too long to carry the suffix keeps its beginning, and a digest keeps it apart from its neighbours.
    let digest = hex::encode(Sha256::digest(gitsync));
    let short: String = gitsync.chars().take(200).collect();
    format!(
        "{}-{}-inventory-{shard}",
        short.trim_end_matches(['-', '.']),
        digest.get(..16).unwrap_or_default()
    )
}

/// `namespace_name_group_kind`; no part can hold a `_`.
fn key(id: &ObjectId) -> String {
    format!(
        "{}_{}_{GROUP}_{}",
        id.namespace.as_deref().unwrap_or_default(),
        id.name,
        id.kind.name()
    )
}

/// Bytes of a line, with a digest and room for a long generation.
fn entry_size(id: &ObjectId) -> usize {
    key(id).len() + VERSION.len() + 64 + 32
}

fn parse(line: &str, shard: u32) -> Option<(ObjectId, InventoryEntry)> {
    let (line, guarded) = match line.strip_suffix(GUARDED) {
        Some(line) => (line, true),
        None => (line, false),
    };
    let mut words = line.split(' ');
    let (key, version, digest, generation) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut parts = key.split('_');
    let (namespace, name, group, kind) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let kind = SyncedKind::from_name(kind)?;
    let fits = words.next().is_none()
        && parts.next().is_none()
        && group == GROUP
        && !name.is_empty()
        && kind.is_namespaced() != namespace.is_empty();
    fits.then_some(())?;
    let id = ObjectId {
        kind,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name.to_owned(),
    };
    let entry = InventoryEntry {
        version: version.to_owned(),
        digest: if digest == "-" { "" } else { digest }.to_owned(),
        generation: generation.parse().ok()?,
        guarded,
        shard,
    };
    Some((id, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ObjectId {
        ObjectId {
            kind: SyncedKind::Workspace,
            namespace: Some("team-a".into()),
            name: format!("workspace-{number}"),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut inventory = Inventory::default();
        inventory.widen((0..5).map(id));
        inventory.widen([ObjectId {
            kind: SyncedKind::WorkspaceClass,
            namespace: None,
            name: "standard".into(),
        }]);
        inventory.applied(&id(3), "abc", 7);
        inventory.note_guard(&Plan {
            guarded: [id(2)].into(),
            guard: crate::model::sync::Guard::Disabled,
            ..Plan::default()
        });
        let read = Inventory::decode(&inventory.encode()).unwrap();
        assert_eq!(read, inventory);
        assert!(read.get(&id(3)).unwrap().is_applied());
        assert!(read.get(&id(2)).unwrap().guarded);
        assert_eq!(read.base(), 1);
        assert!(!read.get(&id(4)).unwrap().is_applied());
    }

    #[test]
    fn widening_never_takes_a_line_out_of_a_shard() {
        let mut inventory = Inventory::default();
        inventory.widen((0..9000).map(id));
        let before = inventory.encode();
        inventory.widen((9000..12000).map(id));
        let after = inventory.encode();
        assert!(after.len() > before.len() && before.len() > 1);
        for (shard, data) in &before {
            assert!(data["entries"].len() <= SHARD_BYTES);
            let kept: std::collections::BTreeSet<_> = after[shard]["entries"].lines().collect();
            assert!(data["entries"].lines().all(|line| kept.contains(line)));
        }
        // What a crash leaves after some of the writes of a widening still covers the old one.
        let mut torn = before.clone();
        torn.extend(after.iter().skip(1).map(|(n, d)| (*n, d.clone())));
        let torn = Inventory::decode(&torn).unwrap();
        assert!((0..9000).all(|n| torn.contains(&id(n))));
    }

    #[test]
    fn a_lost_shard_is_noticed() {
        let mut inventory = Inventory::default();
        inventory.widen((0..9000).map(id));
        let mut shards = inventory.encode();
        shards.remove(&1);
        assert_eq!(
            Inventory::decode(&shards),
            Err(InventoryError::ShardMissing(1))
        );
        shards.remove(&0);
        assert_eq!(Inventory::decode(&shards), Err(InventoryError::Missing));
    }

    #[test]
    fn a_garbled_line_is_noticed() {
        for line in [
            "x",
            "team-a_x_workstead.dev_Pod v1 - 0",
            "_x_workstead.dev_Workspace v - 0",
        ] {
            let mut shards = Inventory::default().encode();
            shards
                .get_mut(&0)
                .unwrap()
                .insert("entries".into(), line.into());
            assert_eq!(
                Inventory::decode(&shards),
                Err(InventoryError::Line { shard: 0, line: 1 })
            );
        }
    }

    #[test]
    fn the_name_of_a_shard_always_fits() {
        assert_eq!(inventory_name("dev", 0), "dev-inventory-0");
        assert!(inventory_name(&"a".repeat(253), 1000).len() <= 253);
        assert_ne!(
            inventory_name(&("a".repeat(250) + "b"), 0),
            inventory_name(&("a".repeat(250) + "c"), 0)
        );
    }
}
