//! Locks between processes, whose next owner learns of the death of the last one.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result, check};
use crate::fingerprint::Fingerprint;
use crate::scope::Scope;
use crate::shareable::{Plain, Shareable};

/// The bare lock: 4 bytes that C, Python and Rust lock alike (`PSMlock`). It begins as zero.
///
/// It guards nothing by itself; [`Mutex`] does. It is for structs that other languages share.
#[repr(transparent)]
#[derive(Default)]
pub struct Lock {
    word: AtomicU32,
}

impl Lock {
    /// A lock that nobody holds.
    #[must_use]
    pub const fn new() -> Self {
        Lock { word: AtomicU32::new(0) }
    }

    /// Waits until no thread of any process holds it, and takes it. It is not recursive.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the lock does not lie in the segment of `scope`, [`Error::ReadOnly`].
    pub fn lock(&self, scope: Scope<'_>) -> Result<LockGuard<'_>> {
        // SAFETY: the segment is open; the library changes the word atomically, and refuses one
        // that is not in the segment.
        let result = check(unsafe { psm_sys::PSMlock(scope.handle(), self.word.as_ptr()) })?;
        Ok(self.guard(scope, result))
    }

    /// Takes it if nobody who lives holds it; does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it is held, by another thread or process or by this one; and as
    /// [`Lock::lock`].
    pub fn try_lock(&self, scope: Scope<'_>) -> Result<LockGuard<'_>> {
        // SAFETY: as for `lock`.
        let result = check(unsafe { psm_sys::PSMtrylock(scope.handle(), self.word.as_ptr()) })?;
        Ok(self.guard(scope, result))
    }

    fn guard(&self, scope: Scope<'_>, result: i32) -> LockGuard<'_> {
        LockGuard {
            lock: self,
            handle: scope.handle(),
            owner_died: result == psm_sys::PSM_OWNER_DIED,
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({:#x})", self.word.load(Ordering::Relaxed))
    }
}

// SAFETY: it is a number.
unsafe impl Shareable<'_> for Lock {
    fn describe(of: &mut Fingerprint) {
        of.text("Lock");
    }
}

/// A [`Lock`] that is held; dropping it unlocks.
///
/// A guard does not go through `fork`: the child does not hold the lock, and must not touch what
/// it guards before it locks for itself.
#[must_use = "it unlocks at once"]
#[derive(Debug)]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    /// Of the segment that the lock lies in, which is mapped for as long as the lock is borrowed.
    /// A raw pointer is not `Send`; so, as with guards of std, a thread unlocks what it locked.
    handle: psm_sys::PSMHandle,
    owner_died: bool,
}

impl LockGuard<'_> {
    /// Whether the owner before died or left without unlocking. This guard is the only one to
    /// hear of it: repair what the lock guards.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: as for `lock`. It is refused in a child by fork, which does not hold the lock.
        unsafe { psm_sys::PSMunlock(self.handle, self.lock.word.as_ptr()) };
    }
}

/// A value in a segment that one thread of all processes uses at a time.
///
/// # When the owner dies
///
/// A process that is killed within the lock may leave the value half changed, at any instruction.
/// A panic never does that to a collection, so this goes further than a poisoned mutex of `std`:
/// the next owner gets [`LockError::OwnerDied`], and so does every later one, until one of them
/// has put a sound value there. What it may do is up to [`Orphan`]. A panic within the lock counts
/// as a death.
///
/// The lock is not recursive. A guard does not go through `fork` (see [`LockGuard`]).
///
/// A `Mutex` is `Sync` if its content is `Send`: only the owner of the lock refers to it.
#[repr(C)]
pub struct Mutex<T> {
    lock: Lock,
    /// Not 0: somebody died in here, and it has not been repaired.
    orphaned: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one thread of all processes at a time to the value.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A value that nobody has locked. It can be locked once it lies in a segment.
    pub const fn new(value: T) -> Self {
        Mutex { lock: Lock::new(), orphaned: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Waits until no thread of any process holds it, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`]: an owner died within the lock and nobody has repaired the value;
    /// the lock is held. [`LockError::Failed`]: the mutex does not lie in the segment of `scope`,
    /// or that is read-only.
    pub fn lock(&self, scope: Scope<'_>) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.guard(self.lock.lock(scope))
    }

    /// Takes it if nobody who lives holds it; does not wait.
    ///
    /// # Errors
    ///
    /// [`LockError::Failed`] with [`Error::State`] if it is held; and as [`Mutex::lock`].
    pub fn try_lock(&self, scope: Scope<'_>) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.guard(self.lock.try_lock(scope))
    }

    fn guard<'a>(
        &'a self,
        lock: Result<LockGuard<'a>>,
    ) -> Result<MutexGuard<'a, T>, LockError<'a, T>> {
        let lock = lock.map_err(LockError::Failed)?;
        if lock.owner_died() {
            // Should this process die before it gets here, the next one is told by the lock.
            self.orphaned.store(1, Ordering::Relaxed);
        }
        let panicking = std::thread::panicking();
        let guard = MutexGuard { mutex: self, lock, panicking };
        if self.orphaned.load(Ordering::Relaxed) == 0 {
            Ok(guard)
        } else {
            Err(LockError::OwnerDied(Orphan { guard: ManuallyDrop::new(guard) }))
        }
    }

    /// The value of a mutex that is not shared.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("lock", &self.lock).finish_non_exhaustive()
    }
}

// SAFETY: the header is two numbers; the value is shareable.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Mutex<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("Mutex").number(std::mem::offset_of!(Self, value)).visit::<T>();
    }
}

/// The value of a [`Mutex`], for as long as it is locked.
#[must_use = "it unlocks at once"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    #[expect(dead_code, reason = "it unlocks when it is dropped, after the guard's own drop")]
    lock: LockGuard<'a>,
    panicking: bool,
}

// SAFETY: a shared guard gives no more than a shared reference to the value.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, by this guard.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, by this guard, which is borrowed for writing.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if !self.panicking && std::thread::panicking() {
            self.mutex.orphaned.store(1, Ordering::Relaxed);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The locked value of a [`Mutex`] whose owner died within the lock.
///
/// The value may be half changed, so safe code cannot look at it: a map may have been killed
/// between giving back its old table and noting the new one. There are three ways on. Dropping
/// the orphan unlocks and leaves it to the next owner.
#[must_use = "dropping it leaves the repair to the next owner"]
pub struct Orphan<'a, T> {
    guard: ManuallyDrop<MutexGuard<'a, T>>,
}

impl<'a, T> Orphan<'a, T> {
    /// Puts another value in its place. The old one is not dropped: blocks that only it led to stay
    /// allocated.
    pub fn replace(self, value: T) -> MutexGuard<'a, T> {
        // SAFETY: the lock is held. Writing does not look at the old value.
        unsafe { self.guard.mutex.value.get().write(value) };
        self.repaired()
    }

    /// Repairs a value that is sound in whatever state its owner left it, because any bytes are.
    /// If `repair` panics the value stays an orphan.
    pub fn repair(self, repair: impl FnOnce(&mut T)) -> MutexGuard<'a, T>
    where
        T: Plain,
    {
        // SAFETY: the lock is held, and any bytes are a value of a plain type.
        repair(unsafe { &mut *self.guard.mutex.value.get() });
        self.repaired()
    }

    /// Where the value lies, for a repair by `unsafe` code before [`Orphan::assume_repaired`].
    #[must_use]
    pub fn as_ptr(&self) -> *mut T {
        self.guard.mutex.value.get()
    }

    /// Takes the value as it is.
    ///
    /// # Safety
    ///
    /// It is a sound value: it was repaired through [`Orphan::as_ptr`], or it is of a type whose
    /// changes are sound after each instruction.
    pub unsafe fn assume_repaired(self) -> MutexGuard<'a, T> {
        self.repaired()
    }

    fn repaired(self) -> MutexGuard<'a, T> {
        let mut this = ManuallyDrop::new(self);
        this.guard.mutex.orphaned.store(0, Ordering::Relaxed);
        // SAFETY: `this` is not dropped, so the guard is taken once.
        unsafe { ManuallyDrop::take(&mut this.guard) }
    }
}

impl<T> Drop for Orphan<'_, T> {
    fn drop(&mut self) {
        // SAFETY: it is dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.guard) }
    }
}

impl<T> fmt::Debug for Orphan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Orphan")
    }
}

/// Why a [`Mutex`] did not give its value.
pub enum LockError<'a, T> {
    /// An owner died within the lock. The lock is held; repair the value.
    OwnerDied(Orphan<'a, T>),
    /// The mutex cannot be locked.
    Failed(Error),
}

impl<T> fmt::Debug for LockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(orphan) => f.debug_tuple("OwnerDied").field(orphan).finish(),
            LockError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<T> fmt::Display for LockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str(OWNER_DIED),
            LockError::Failed(error) => error.fmt(f),
        }
    }
}

impl<T> std::error::Error for LockError<'_, T> {}

const OWNER_DIED: &str = "a process died within the lock, and what the lock guards was not \
                          repaired: match LockError::OwnerDied and repair or replace it";

impl<T> From<LockError<'_, T>> for Error {
    /// An orphan is left to the next owner.
    fn from(error: LockError<'_, T>) -> Error {
        match error {
            LockError::OwnerDied(_) => Error::OwnerDied(OWNER_DIED.into()),
            LockError::Failed(error) => error,
        }
    }
}
