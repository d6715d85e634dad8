/* PSM for every language that SWIG knows: one class, and only numbers, text and
 * bytes pass through its methods, so a script cannot keep anything too long.
 *
 * An address is an unsigned number of 64 bits, the same in every process and
 * language. A `place` is an address or an offset: a number below the segment's
 * size is an offset, and no address is one (checked.h). How numbers and bytes look in a language stands in bytes.i, how it
 * learns of a failure in errors.i, and what each call promises in psm.h.
 */
%module psm

%{
#include "checked.h"
%}

%include <stdint.i>
%include "bytes.i"
%include "errors.i"

%constant int OPEN_JOIN = 1;      /* never create */
%constant int OPEN_EXCLUSIVE = 2; /* never join */
%constant int OPEN_KEEP = 4;      /* the file outlives its users */
%constant int OPEN_READONLY = 8;
%constant int OPEN_LARGE_PAGES = 16; /* small blocks in pages of 2 MiB, if the system can */

const char *libraryVersion(void);
const char *lastError(void); /* the code of this thread's latest call, once, if it failed; else "" */

%nodefaultctor Segment;
%newobject Segment::open;
%newobject Segment::members;
%newobject Segment::deaths;
typedef struct Segment {} Segment;

%extend Segment {
  /* ---- Life: size 0 joins whatever there is; address 0 lets PSM choose ---- */
  Segment(const char *name, uint64_t size);
  static Segment *open(const char *name, uint64_t size, int64_t flags, uint64_t address,
                       int64_t mode);
  void close();
  bool isOpen();
  ~Segment();

  /* ---- Blocks, by their addresses ---- */
  uint64_t alloc(uint64_t size);
  uint64_t calloc(uint64_t count, uint64_t size);
  uint64_t realloc(uint64_t block, uint64_t size);
  uint64_t alignedAlloc(uint64_t alignment, uint64_t size);
  void free(uint64_t block);
  void allocTo(uint64_t size, uint64_t place); /* the address appears there */
  void freeFrom(uint64_t place);
  uint64_t usableSize(uint64_t block);
  uint64_t nextBlock(uint64_t block); /* 0 begins and ends */

  /* ---- Memory: within the area of blocks and the user word, or refused ---- */
  Bytes read(uint64_t place, uint64_t length);
  void write(uint64_t place, const char *bytes, uint64_t length);
  int8_t peekI8(uint64_t place);
  int16_t peekI16(uint64_t place);
  int32_t peekI32(uint64_t place);
  int64_t peekI64(uint64_t place);
  uint8_t peekU8(uint64_t place);
  uint16_t peekU16(uint64_t place);
  uint32_t peekU32(uint64_t place);
  uint64_t peekU64(uint64_t place);
  double peekF64(uint64_t place);
  void pokeI8(uint64_t place, int64_t value);
  void pokeI16(uint64_t place, int64_t value);
  void pokeI32(uint64_t place, int64_t value);
  void pokeI64(uint64_t place, int64_t value);
  void pokeU8(uint64_t place, int64_t value);
  void pokeU16(uint64_t place, int64_t value);
  void pokeU32(uint64_t place, int64_t value);
  void pokeU64(uint64_t place, uint64_t value);
  void pokeF64(uint64_t place, double value);

  /* ---- Addresses, and the 8 bytes that all members find ---- */
  uint64_t baseAddress();
  uint64_t size();
  uint64_t offset(uint64_t address);
  uint64_t address(uint64_t offset);
  uint64_t userAddress();
  uint64_t user();
  void setUser(uint64_t value);
  uint64_t root(); /* the user word, which must be an address of the segment or 0 */
  void setRoot(uint64_t address);

  /* ---- A lock that survives its owner: 4 bytes, zero at first ---- */
  bool lockAt(uint64_t place);   /* true: the owner died; repair what it guards */
  int tryLockAt(uint64_t place); /* 0: it is held; 1: locked; 2: locked, and the owner died */
  void unlockAt(uint64_t place);

  /* ---- Looking inside, and upkeep ---- */
  uint64_t stat(const char *field); /* a field of PSMStat, by its name */
  char *members();                  /* lines of "id pid seat start alive" */
  char *deaths(uint64_t place);     /* the same; how many were seen stands in 8 bytes there */
  uint64_t memberId();
  bool alive(uint64_t id);
  int reap();
  uint64_t trim();
  void check();
  bool sound();
}
