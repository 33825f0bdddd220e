// Lets a rank fail in the n-th call of an MPI collective, and counts those calls.
//
// A library for LD_PRELOAD, driven by two environment variables, that works with every program that
// is linked to MPI's shared library:
//
//   MPI_FAULT="rank=1 call=Iallreduce nth=3 do=stop"
//     Before (when=after: behind) the call the rank does one of
//       delay:MS      sleeps so many milliseconds; nth=every: at each call from now on
//       hang          sleeps for ever
//       stop          SIGSTOP, as a debugger or a batch system does
//       kill, abort, segfault    dies by SIGKILL, SIGABRT, SIGSEGV
//       exit:CODE     ends without MPI_Finalize
//       finalize      calls MPI_Finalize, then sleeps for ever
//       error:CODE    returns this code of MPI instead of making the call
//     rank: number in MPI_COMM_WORLD, or every (the default). call: name without "MPI_", or a part
//     that ends it, so that `allreduce` is MPI_Allreduce and MPI_Iallreduce; any by default. nth
//     counts such calls of the rank from 1, its default. Several faults are separated by ";".
//
//   MPI_FAULT_COUNTS=PATH
//     In MPI_Finalize every rank writes PATH.RANK: a line "MPI_Iallreduce 12" per function called.
//
// What is seen: the collectives below, but not MPI_Test and MPI_Wait, whose number says nothing.

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

struct Fault {
  int rank = -1;  // every
  std::string call;
  long nth = 1;  // 0: every
  bool after = false;
  std::string deed;
  long number = 0;  // what follows the deed
  long num_calls = 0;
};

[[noreturn]] void refuse(const std::string& word) {
  std::fprintf(stderr, "mpi_faults: \"%s\" in MPI_FAULT makes no sense\n", word.c_str());
  _exit(2);
}

void read_word(const std::string& word, Fault& fault) {
  const auto at = word.find('=');
  if (at == std::string::npos) refuse(word);
  const std::string key = word.substr(0, at), value = word.substr(at + 1);
  if (key == "rank") {
    fault.rank = value == "every" ? -1 : std::stoi(value);
  } else if (key == "call") {
    fault.call = value;
  } else if (key == "nth") {
    fault.nth = value == "every" ? 0 : std::stol(value);
  } else if (key == "when") {
    fault.after = value == "after";
  } else if (key == "do") {
    const auto colon = value.find(':');
    fault.deed = value.substr(0, colon);
    if (colon != std::string::npos) fault.number = std::stol(value.substr(colon + 1));
  } else {
    refuse(word);
  }
}

std::vector<Fault> faults_of_environment() {
  std::vector<Fault> faults;
  const char* const text = std::getenv("MPI_FAULT");
  std::istringstream all(text == nullptr ? "" : text);
  for (std::string one; std::getline(all, one, ';');) {
    std::istringstream words(one);
    Fault& fault = faults.emplace_back();
    for (std::string word; words >> word;) read_word(word, fault);
  }
  return faults;
}

std::vector<Fault>& faults() {
  static std::vector<Fault> all = faults_of_environment();
  return all;
}

std::map<std::string, long>& counts() {
  static std::map<std::string, long> all;
  return all;
}

// Also before MPI_Init, as launchers say it.
int rank_here() {
  int is_initialized = 0, is_finalized = 0, rank = 0;
  PMPI_Initialized(&is_initialized);
  PMPI_Finalized(&is_finalized);
  if (is_initialized != 0 && is_finalized == 0) {
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"})
    if (const char* const value = std::getenv(name)) return std::atoi(value);
  return 0;
}

bool ends_with(std::string_view name, std::string_view end) {
  return name.size() >= end.size() &&
         std::equal(end.rbegin(), end.rend(), name.rbegin(), [](unsigned char a, unsigned char b) {
           return std::tolower(a) == std::tolower(b);
         });
}

[[noreturn]] void sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// True where the call must not be made; then `code` is what it returns.
bool carry_out(const Fault& fault, int& code) {
  const std::string& deed = fault.deed;
  if (deed == "delay") {
    std::this_thread::sleep_for(std::chrono::milliseconds(fault.number));
  } else if (deed == "hang") {
    sleep_for_ever();
  } else if (deed == "stop") {
    std::raise(SIGSTOP);
  } else if (deed == "kill") {
    std::raise(SIGKILL);
  } else if (deed == "abort") {
    std::abort();
  } else if (deed == "segfault") {
    std::signal(SIGSEGV, SIG_DFL);
    std::raise(SIGSEGV);
  } else if (deed == "exit") {
    _exit(static_cast<int>(fault.number));
  } else if (deed == "finalize") {
    PMPI_Finalize();
    sleep_for_ever();
  } else if (deed == "error") {
    code = static_cast<int>(fault.number);
    return true;
  } else {
    refuse("do=" + deed);
  }
  return false;
}

void write_counts() {
  const char* const path = std::getenv("MPI_FAULT_COUNTS");
  if (path == nullptr) return;
  std::ofstream file(std::string(path) + "." + std::to_string(rank_here()));
  for (const auto& [name, count] : counts()) file << name << ' ' << count << '\n';
}

template <class Call>
int make(const char* name, Call&& call) {
  ++counts()[name];
  std::vector<const Fault*> due;
  for (Fault& fault : faults())
    if ((fault.rank < 0 || fault.rank == rank_here()) && ends_with(name, fault.call) &&
        (++fault.num_calls == fault.nth || fault.nth == 0))
      due.push_back(&fault);
  int code = MPI_SUCCESS;
  for (const Fault* fault : due)
    if (!fault->after && carry_out(*fault, code)) return code;
  code = call();
  for (const Fault* fault : due)
    if (fault->after && carry_out(*fault, code)) return code;
  return code;
}

}  // namespace

// MPI's profiling interface: these stand before the library's own, PMPI_ is the real thing.
#define MPI_FAULT_POINT(name, parameters, arguments)                  \
  extern "C" int MPI_##name parameters {                              \
    return make("MPI_" #name, [&] { return PMPI_##name arguments; }); \
  }

MPI_FAULT_POINT(Allreduce,
                (const void* in, void* out, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
                (in, out, n, t, op, c))
MPI_FAULT_POINT(Iallreduce,
                (const void* in, void* out, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c,
                 MPI_Request* r),
                (in, out, n, t, op, c, r))
MPI_FAULT_POINT(Bcast, (void* data, int n, MPI_Datatype t, int root, MPI_Comm c),
                (data, n, t, root, c))
MPI_FAULT_POINT(Ibcast, (void* data, int n, MPI_Datatype t, int root, MPI_Comm c, MPI_Request* r),
                (data, n, t, root, c, r))
MPI_FAULT_POINT(Allgather,
                (const void* in, int n, MPI_Datatype t, void* out, int m, MPI_Datatype u,
                 MPI_Comm c),
                (in, n, t, out, m, u, c))
MPI_FAULT_POINT(Iallgather,
                (const void* in, int n, MPI_Datatype t, void* out, int m, MPI_Datatype u,
                 MPI_Comm c, MPI_Request* r),
                (in, n, t, out, m, u, c, r))
MPI_FAULT_POINT(Barrier, (MPI_Comm c), (c))
MPI_FAULT_POINT(Ibarrier, (MPI_Comm c, MPI_Request* r), (c, r))
MPI_FAULT_POINT(Comm_dup, (MPI_Comm c, MPI_Comm* copy), (c, copy))
MPI_FAULT_POINT(Comm_idup, (MPI_Comm c, MPI_Comm* copy, MPI_Request* r), (c, copy, r))
MPI_FAULT_POINT(Comm_split, (MPI_Comm c, int color, int key, MPI_Comm* part), (c, color, key, part))
MPI_FAULT_POINT(Comm_split_type, (MPI_Comm c, int type, int key, MPI_Info info, MPI_Comm* part),
                (c, type, key, info, part))
MPI_FAULT_POINT(Comm_free, (MPI_Comm * c), (c))
MPI_FAULT_POINT(Init_thread, (int* argc, char*** argv, int required, int* provided),
                (argc, argv, required, provided))

extern "C" int MPI_Finalize() {
  return make("MPI_Finalize", [] {
    write_counts();
    return PMPI_Finalize();
  });
}
