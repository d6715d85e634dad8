/* PSM for C++17: the standard containers, unchanged, in memory that processes
 * share. psm.h is the manual of what lies below; this header only adds to it.
 *
 *   psm::segment segment("shm:prices", 64 << 20);
 *   using Prices = std::map<int, double, std::less<>,
 *                           psm::allocator<std::pair<const int, double>>>;
 *   auto &prices = psm::roots(segment).get<Prices>("prices");
 *
 * A segment lies at one address in every process, so `pointer` is `T *` and a
 * container works as it does in private memory. Read before use:
 *  - Everything that a shared object points to must lie in the segment too: a
 *    container in it has psm::allocator, and so have those inside it (see
 *    psm::scoped_allocator). The header refuses, when it is compiled, what it
 *    can see (psm::shareable): virtual functions, pointers to functions,
 *    std::function, std::any, std::shared_ptr, std::mutex, std::pmr and other
 *    allocators. It cannot see into your own classes, nor where a raw pointer
 *    or a std::string_view leads.
 *  - All members use one standard library with one layout; psm::roots compares
 *    it and throws psm::layout_error.
 *  - Hashes must not depend on the process: psm::hash. A table that is empty
 *    must not point into the process: psm::settle.
 *  - A container is no more than its bytes. Several writers need psm::mutex,
 *    and a writer that is killed may leave the container half changed:
 *    psm::mutex tells the next one, psm::slot replaces all of it in one step.
 *
 * docs/cpp.md shows each, with what was measured.
 */
#ifndef PSM_HPP
#define PSM_HPP

#include <psm/allocator.hpp>
#include <psm/hash.hpp>
#include <psm/mutex.hpp>
#include <psm/roots.hpp>
#include <psm/segment.hpp>
#include <psm/shareable.hpp>
#include <psm/slot.hpp>

#endif /* PSM_HPP */
