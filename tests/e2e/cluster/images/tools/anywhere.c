/* What Debian's Git and OpenSSH need so as to run in an image that is not theirs: linked to each of them
 * (patchelf --add-needed), before the C library, so that these functions stand in for its own.
 *
 * - A user without an entry in /etc/passwd is a user: OpenSSH refuses to run otherwise.
 * - An image without /bin/sh still runs credential helpers and GIT_SSH_COMMAND, which Git gives to a shell.
 * - Git finds its programs, templates and certificates. All of it can be said otherwise: by environment
 *   variables, and by any of the user's own Git settings, since ours lie below them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PLACE
#define PLACE "/opt/workstead/git"
#endif

/* An image's own certificates come first: a company adds its own there. Where there are none, ours. */
static const struct {
    const char *bundle, *settings;
} CERTIFICATES[] = {
    {"/etc/ssl/certs/ca-certificates.crt", PLACE "/etc/gitconfig.debian"},
    {"/etc/pki/tls/certs/ca-bundle.crt", PLACE "/etc/gitconfig.fedora"},
    {"/etc/ssl/ca-bundle.pem", PLACE "/etc/gitconfig.suse"},
    {"/etc/ssl/cert.pem", PLACE "/etc/gitconfig.alpine"},
    {PLACE "/etc/ca-certificates.crt", PLACE "/etc/gitconfig.own"},
};

static struct passwd *(*known_user)(uid_t);

__attribute__((constructor)) static void prepare(void) {
    struct stat found;
    known_user = (struct passwd * (*)(uid_t)) dlsym(RTLD_NEXT, "getpwuid");
    setenv("GIT_EXEC_PATH", PLACE "/libexec/git-core", 0);
    setenv("GIT_SSH", PLACE "/bin/ssh", 0);
    for (size_t i = 0; i < sizeof CERTIFICATES / sizeof *CERTIFICATES; i++)
        if (stat(CERTIFICATES[i].bundle, &found) == 0 && found.st_size > 0) {
            setenv("GIT_CONFIG_SYSTEM", CERTIFICATES[i].settings, 0);
            break;
        }
}

static char *either(const char *variable, const char *otherwise) {
    char *value = getenv(variable);
    return value && *value ? value : (char *)otherwise;
}

struct passwd *getpwuid(uid_t uid) {
    static struct passwd self;
    struct passwd *known = known_user ? known_user(uid) : NULL;
    if (known || (uid != getuid() && uid != geteuid()))
        return known;
    self.pw_name = either("USER", either("LOGNAME", "user"));
    self.pw_passwd = "*";
    self.pw_uid = uid;
    self.pw_gid = getgid();
    self.pw_gecos = "";
    self.pw_dir = either("HOME", "/");
    self.pw_shell = "/bin/sh";
    return &self;
}

/* System calls as they are: this runs between fork and exec, where little else is allowed. */
int execve(const char *path, char *const arguments[], char *const environment[]) {
    long result = syscall(SYS_execve, path, arguments, environment);
    if (errno == ENOENT && strcmp(path, "/bin/sh") == 0) {
        syscall(SYS_execve, PLACE "/bin/sh", arguments, environment);
        errno = ENOENT;
    }
    return (int)result;
}

int execv(const char *path, char *const arguments[]) {
    return execve(path, arguments, environ);
}
