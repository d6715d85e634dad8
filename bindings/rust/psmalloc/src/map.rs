//! A hash map that processes share, and its hasher.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;

use foldhash::fast::{FixedState, FoldHasher};
use hashbrown::hash_map::{Entry, IterMut, ValuesMut};

use crate::alloc::Alloc;
use crate::collections::Probe;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::shareable::Shareable;

/// The hash function of [`HashMap`]: foldhash, with a seed that lies in the map.
///
/// The keys of the hashers of `std` and `hashbrown` are each process's own, so what one process
/// stores another would not find. This one hashes alike in every process. Its seed is drawn by who
/// makes the map, so that keys from outside cannot be chosen to collide.
#[repr(transparent)]
#[derive(Clone, Debug)]
pub struct Seeded {
    seed: u64,
}

impl Seeded {
    /// A hasher with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Seeded { seed }
    }

    /// A hasher with a seed that nobody can guess.
    #[must_use]
    pub fn random() -> Self {
        Seeded { seed: std::hash::RandomState::new().hash_one(0) }
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> FoldHasher<'static> {
        FixedState::with_seed(self.seed).build_hasher()
    }
}

// SAFETY: it is a number.
unsafe impl Shareable<'_> for Seeded {
    fn describe(of: &mut Fingerprint) {
        let hasher = Seeded::new(1);
        of.text("Seeded").compiler();
        of.number(hasher.hash_one(2u64) as usize);
        of.number(hasher.hash_one("a text of more than sixteen bytes") as usize);
    }
}

/// A [`hashbrown`] map in a segment.
///
/// It differs from the bare map in two ways. It always has a table of its own, because an empty
/// `hashbrown` map points to a constant of the program that made it, which another process would
/// follow into its own memory. And what makes it grow gives an error if the segment is full,
/// instead of aborting. All that only reads comes from the map itself, by `Deref`.
///
/// ```
/// # fn main() -> psmalloc::Result<()> {
/// # let name = format!("shm:psmalloc-map-{}", std::process::id());
/// # psmalloc::Segment::options().size(1 << 20).open(&name)?.enter(|s| {
/// let mut ages = psmalloc::HashMap::new_in(s.alloc())?;
/// ages.insert(psmalloc::String::from_str_in("Ada", s.alloc())?, 36)?;
/// *ages.entry(psmalloc::String::from_str_in("Ada", s.alloc())?)?.or_insert(0) += 1;
/// assert_eq!(ages.get("Ada"), Some(&37));
/// # Ok(()) }) }
/// ```
pub struct HashMap<'s, K, V, S = Seeded> {
    /// Its table is never the shared empty one.
    map: Inner<'s, K, V, S>,
}

type Inner<'s, K, V, S> = hashbrown::HashMap<K, V, S, Alloc<'s>>;

impl<'s, K: Eq + Hash, V> HashMap<'s, K, V> {
    /// An empty map with a seed of its own.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`], [`Error::NoSpace`], [`Error::ReadOnly`].
    pub fn new_in(alloc: Alloc<'s>) -> Result<Self> {
        Self::with_hasher_in(1, Seeded::random(), alloc)
    }

    /// An empty map with room for `capacity` entries.
    ///
    /// # Errors
    ///
    /// As [`HashMap::new_in`].
    pub fn with_capacity_in(capacity: usize, alloc: Alloc<'s>) -> Result<Self> {
        Self::with_hasher_in(capacity, Seeded::random(), alloc)
    }
}

impl<'s, K: Eq + Hash, V, S: BuildHasher> HashMap<'s, K, V, S> {
    /// An empty map with room for `capacity` entries, and with a hasher. To be shared, that must
    /// be [`Shareable`]; it must also hash alike in every process.
    ///
    /// # Errors
    ///
    /// As [`HashMap::new_in`].
    pub fn with_hasher_in(capacity: usize, hasher: S, alloc: Alloc<'s>) -> Result<Self> {
        let mut map = Inner::with_hasher_in(hasher, alloc);
        map.try_reserve(capacity.max(1)).map_err(|_| Error::last())?;
        Ok(HashMap { map })
    }

    /// Puts a value under a key; gives the one that was there.
    ///
    /// # Errors
    ///
    /// As [`HashMap::new_in`]; the map is then as it was.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>> {
        self.reserve(1)?;
        Ok(self.map.insert(key, value))
    }

    /// The entry of a key, to be looked at or filled in.
    ///
    /// # Errors
    ///
    /// As [`HashMap::new_in`].
    #[inline]
    pub fn entry(&mut self, key: K) -> Result<Entry<'_, K, V, S, Alloc<'s>>> {
        self.reserve(1)?;
        Ok(self.map.entry(key))
    }

    /// Makes room for as many more entries.
    ///
    /// # Errors
    ///
    /// As [`HashMap::new_in`].
    #[inline]
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        self.map.try_reserve(additional).map_err(|_| Error::last())
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    /// Takes a value out.
    #[inline]
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.map.remove(key)
    }

    /// Takes a key and its value out.
    #[inline]
    pub fn remove_entry<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.map.remove_entry(key)
    }

    /// Drops the entries for which `keep` says no.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.map.retain(keep);
    }

    /// All entries; the values may be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.map.iter_mut()
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        self.map.values_mut()
    }

    /// Drops all entries, and keeps the table.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// Gives memory back that the entries do not need.
    pub fn shrink_to_fit(&mut self) {
        self.map.shrink_to(1);
    }
}

impl<'s, K, V, S> Deref for HashMap<'s, K, V, S> {
    type Target = Inner<'s, K, V, S>;

    /// The map, for all that only reads. A map that is made from it, as by `clone`, is an ordinary
    /// one and cannot be shared.
    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for HashMap<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

// SAFETY: its pointers lead into the segment of its allocator: the table is never the empty one of
// the program. How the code of this program builds a table is part of the description.
unsafe impl<'s, K, V, S> Shareable<'s> for HashMap<'s, K, V, S>
where
    K: Shareable<'s>,
    V: Shareable<'s>,
    S: Shareable<'s>,
{
    fn describe(of: &mut Fingerprint) {
        let probe = Probe::default();
        let mut map = hashbrown::HashMap::with_hasher_in(Seeded::new(1), probe.handle());
        map.reserve(20);
        for number in 0..20u64 {
            map.insert(number, !number);
        }
        map.remove(&7);
        of.compiler().text("HashMap").visit::<(K, V)>();
        of.visit::<S>();
        probe.describe(&map, of);
    }
}
