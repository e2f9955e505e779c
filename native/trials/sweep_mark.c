/* The mark of any language: to ask whether a file is there. Asking is all; the answer is the system's. */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trials/sweep.h"

INTERPOSED int access(const char *path, int mode) {
    hear_path(path);
    return BEHIND(access)(path, mode);
}

INTERPOSED int euidaccess(const char *path, int mode) {
    hear_path(path);
    return BEHIND(euidaccess)(path, mode);
}

INTERPOSED int eaccess(const char *path, int mode) { return euidaccess(path, mode); }

INTERPOSED int faccessat(int folder, const char *path, int mode, int flags) {
    hear_path(path);
    return BEHIND(faccessat)(folder, path, mode, flags);
}

INTERPOSED int stat(const char *restrict path, struct stat *restrict found) {
    hear_path(path);
    return BEHIND(stat)(path, found);
}

INTERPOSED int stat64(const char *restrict path, struct stat64 *restrict found) {
    hear_path(path);
    return BEHIND(stat64)(path, found);
}

INTERPOSED int lstat(const char *restrict path, struct stat *restrict found) {
    hear_path(path);
    return BEHIND(lstat)(path, found);
}

INTERPOSED int lstat64(const char *restrict path, struct stat64 *restrict found) {
    hear_path(path);
    return BEHIND(lstat64)(path, found);
}

INTERPOSED int fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags) {
    hear_path(path);
    return BEHIND(fstatat)(folder, path, found, flags);
}

INTERPOSED int fstatat64(int folder, const char *restrict path, struct stat64 *restrict found, int flags) {
    hear_path(path);
    return BEHIND(fstatat64)(folder, path, found, flags);
}

INTERPOSED int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    hear_path(path);
    return BEHIND(statx)(folder, path, flags, mask, found);
}

/* Programs of before glibc 2.33 ask by these. */
int __xstat(int version, const char *path, struct stat *found);
int __xstat64(int version, const char *path, struct stat64 *found);

INTERPOSED int __xstat(int version, const char *path, struct stat *found) {
    hear_path(path);
    return BEHIND(__xstat)(version, path, found);
}

INTERPOSED int __xstat64(int version, const char *path, struct stat64 *found) {
    hear_path(path);
    return BEHIND(__xstat64)(version, path, found);
}

/* --- a library that is opened. Who asks decides where the loader looks: so each is called in the place of ours, from
 * where it was asked, which the compiler does for a call that is the last of a function. --- */

INTERPOSED void *dlopen(const char *path, int mode) {
    if (!(mode & RTLD_NOLOAD)) hear_library(path);
    return BEHIND(dlopen)(path, mode);
}

INTERPOSED void *dlmopen(Lmid_t list, const char *path, int mode) {
    if (!(mode & RTLD_NOLOAD)) hear_library(path);
    return BEHIND(dlmopen)(list, path, mode);
}
