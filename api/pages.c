#include "api/pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/reply.h"
#include "api/server.h"

static const char *type_of(const char *name)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".wasm", "application/wasm"},
        {".json", "application/json"},
        {".yaml", "application/yaml"},
        {".webmanifest", "application/manifest+json"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".txt", "text/plain; charset=utf-8"},
        {".wgsl", "text/plain; charset=utf-8"},
        {".safetensors", "application/octet-stream"},
        {".bin", "application/octet-stream"},
    };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(dot, types[i].end) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

// Only plain names between slashes: nothing climbs out of the folder, and no
// hidden file is served.
static bool path_ok(const char *path)
{
    for (const char *p = path; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9');

        if (*p == '/' && (p[1] == '/' || p[1] == '.' || !p[1]))
            return false;
        if (!word && !strchr("/._-", *p))
            return false;
    }
    return path[0] == '/';
}

// Open the file that a path means: itself, or as a page.
static int file_open(int dir, const char *path, char *name, size_t cap)
{
    int fd = -1;

    if (strcmp(path, "/") == 0)
        path = "/index";
    if (!path_ok(path))
        return -1;
    snprintf(name, cap, "%s", path + 1);
    if (strchr(strrchr(path, '/'), '.'))
        fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && strlen(path) + sizeof ".html" < cap) {
        snprintf(name, cap, "%s.html", path + 1);
        fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    }
    return fd;
}

void api_page_serve(struct api_request *req)
{
    char name[512], etag[64];
    struct stat st;
    int fd = -1;

    if (strlen(req->path) < sizeof name)
        fd = file_open(req->server->web_fd, req->path, name, sizeof name);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        api_reply_error(req, 404, NULL, "page_not_found",
                        "there is no page %s here", req->path);
        return;
    }
    snprintf(etag, sizeof etag, "%llx-%llx-%lx", (unsigned long long)st.st_size,
             (unsigned long long)st.st_mtim.tv_sec,
             (unsigned long)st.st_mtim.tv_nsec);
    api_reply_file(req, &(struct api_reply_file){.fd = fd,
                                                 .size = (uint64_t)st.st_size,
                                                 .content_type = type_of(name),
                                                 .etag = etag});
}
