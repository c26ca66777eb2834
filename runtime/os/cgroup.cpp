#include "runtime/os/cgroup.h"

#include <stdio.h>
#include <string.h>

namespace warren::rt {

bool read_first_line(const std::string& path, char* line, int n) {
  FILE* f = fopen(path.c_str(), "re");
  if (f == nullptr) return false;
  const bool ok = fgets(line, n, f) != nullptr;
  fclose(f);
  return ok;
}

void visit_cgroups(const char* cgroup_file, const char* mount, const char* controller,
                   void (*visit)(void* ctx, const std::string& directory, bool v2), void* ctx) {
  FILE* f = fopen(cgroup_file, "re");
  if (f == nullptr) return;
  const std::string wanted = std::string(",") + controller + ",";
  char line[4096];
  // "0::/a/b" is version 2, "4:cpu,cpuacct:/a/b" version 1. Inside a container the group's path may be that of the host, which is not to be
  // seen there: then only the root, which is the container's own group, answers.
  while (fgets(line, sizeof line, f) != nullptr) {
    line[strcspn(line, "\n")] = '\0';
    char* controllers = strchr(line, ':');
    if (controllers == nullptr) continue;
    ++controllers;
    char* group_text = strchr(controllers, ':');
    if (group_text == nullptr) continue;
    *group_text++ = '\0';
    const bool v2 = *controllers == '\0';
    if (!v2 && (std::string(",") + controllers + ",").find(wanted) == std::string::npos) continue;
    const std::string root = v2 ? std::string(mount) : std::string(mount) + "/" + controllers;
    std::string group = strcmp(group_text, "/") == 0 ? "" : group_text;
    for (;;) {
      visit(ctx, root + group, v2);
      const size_t slash = group.rfind('/');
      if (group.empty() || slash == std::string::npos) break;
      group.resize(slash);
    }
  }
  fclose(f);
}

}  // namespace warren::rt
