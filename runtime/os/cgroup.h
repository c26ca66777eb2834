// The control groups a process is in: which directories tell its limits.
#pragma once
#include <string>

namespace warren::rt {

// Calls visit(ctx, directory, v2) for the group of the process and each one around it up to the root, as a limit holds for everything below
// it. cgroup_file: a text like /proc/self/cgroup; mount: where the cgroup file systems are. Version 2, and the hierarchy of version 1 with
// that controller ("cpu", "memory"). Directories need not exist.
void visit_cgroups(const char* cgroup_file, const char* mount, const char* controller,
                   void (*visit)(void* ctx, const std::string& directory, bool v2), void* ctx);

// The first line of a small file. False: it cannot be read.
bool read_first_line(const std::string& path, char* line, int n);

}  // namespace warren::rt
