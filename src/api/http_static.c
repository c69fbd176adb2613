#include "api/http_static.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/http_answer.h"
#include "api/http_etag.h"
#include "base/mem.h"
#include "io/work.h"

enum {
    STATIC_FILE_MAX = 16 * 1024 * 1024,
    STATIC_CHUNK = 64 * 1024,
};

struct static_file {
    struct api *api;
    struct http_request *request;
    struct op op;
    char *path;       /* decoded, without the leading slash */
    const char *type; /* of the file that was found */
    char etag[ETAG_SIZE];
    struct buf body;
};

const char *static_type(const char *name)
{
    static const struct {
        const char *suffix, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".htm", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json; charset=utf-8"},
        {".map", "application/json; charset=utf-8"},
        {".webmanifest", "application/manifest+json"},
        {".txt", "text/plain; charset=utf-8"},
        {".xml", "application/xml"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".avif", "image/avif"},
        {".ico", "image/x-icon"},
        {".woff", "font/woff"},
        {".woff2", "font/woff2"},
        {".ttf", "font/ttf"},
        {".otf", "font/otf"},
        {".wasm", "application/wasm"},
    };
    const char *suffix = strrchr(name, '.');

    for (size_t i = 0; suffix != NULL && i < ARRAY_SIZE(types); i++)
        if (strcasecmp(types[i].suffix, suffix) == 0)
            return types[i].type;
    return "application/octet-stream";
}

bool static_path_is_safe(const char *path)
{
    while (*path != '\0') {
        size_t len = strcspn(path, "/");

        if (path[0] == '.' || memchr(path, '\\', len) != NULL)
            return false;
        path += len;
        path += *path == '/';
    }
    return true;
}

static int static_read_fd(int fd, struct buf *body)
{
    char *chunk = mem_alloc(STATIC_CHUNK);
    ssize_t got = 0;

    if (chunk == NULL)
        return ERR_NOMEM;
    do {
        got = read(fd, chunk, STATIC_CHUNK);
        if (got > 0)
            buf_append(body, chunk, (size_t)got);
    } while ((got > 0 && body->rc == 0) || (got < 0 && errno == EINTR));
    mem_free(chunk);
    if (body->rc != 0)
        return body->rc;
    return got < 0 ? ERR_IO : 0;
}

/* ERR_NOT_FOUND unless it is a regular file that is really below the root. */
static int static_read_file(const char *root, const char *path, struct buf *body)
{
    size_t root_len = strlen(root);
    char joined[PATH_MAX], real[PATH_MAX];
    struct stat info;
    int fd, rc;

    if (root_len + strlen(path) + 2 > sizeof(joined))
        return ERR_NOT_FOUND;
    stpcpy(stpcpy(stpcpy(joined, root), "/"), path);
    if (realpath(joined, real) == NULL || strncmp(real, root, root_len) != 0 ||
        real[root_len] != '/')
        return ERR_NOT_FOUND;
    fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return ERR_NOT_FOUND;
    rc = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? 0 : ERR_NOT_FOUND;
    if (rc == 0)
        rc = static_read_fd(fd, body);
    close(fd);
    return rc;
}

static int static_on_thread(void *arg, struct err *err)
{
    struct static_file *file = arg;
    const char *root = file->api->frontend_root;
    int rc = ERR_NOT_FOUND;

    file->type = static_type(file->path);
    if (file->path[0] != '\0' && static_path_is_safe(file->path))
        rc = static_read_file(root, file->path, &file->body);
    if (rc == ERR_NOT_FOUND) {
        file->type = static_type("index.html");
        rc = static_read_file(root, "index.html", &file->body);
    }
    if (rc == ERR_NOT_FOUND)
        return err_set(err, rc, "Not found");
    if (rc == 0)
        rc = etag_make(buf_str(&file->body), file->body.len, file->etag);
    return rc != 0 ? err_set(err, rc, "the file cannot be read") : 0;
}

static void static_end(struct static_file *file)
{
    file->api->calls--;
    buf_free(&file->body);
    mem_free(file->path);
    mem_free(file);
}

/* A browser keeps the file and asks whether it is still good: a new release is seen at once. */
static void static_answer(struct static_file *file)
{
    struct http_request *request = file->request;

    http_add_header(request, "Cache-Control", "no-cache");
    http_add_header(request, "ETag", file->etag);
    if (etag_is_listed(http_header(request, "If-None-Match"), file->etag)) {
        http_respond(request, 304, NULL, 0);
        return;
    }
    http_add_header(request, "Content-Type", file->type);
    http_add_header(request, "X-Content-Type-Options", "nosniff");
    http_respond_buf(request, 200, &file->body);
}

static void static_on_done(struct op *op, int rc)
{
    struct static_file *file = container_of(op, struct static_file, op);
    struct http_request *request = file->request;

    if (rc != 0) {
        answer_err(request, &op->err);
    } else {
        static_answer(file);
    }
    static_end(file);
}

static int static_begin(struct static_file *file)
{
    struct http_request *request = file->request;
    const char *path = http_path(request);
    char *decoded = http_decode(http_arena(request), path, strlen(path), false);

    if (decoded == NULL)
        return op_refuse(&file->op, ERR_INVALID, "malformed percent-encoding in the path");
    file->path = mem_strdup(decoded + strspn(decoded, "/"));
    if (file->path == NULL)
        return op_refuse(&file->op, ERR_NOMEM, "out of memory");
    return work_start(file->api->config.loop, &file->op, static_on_thread, file);
}

void static_start(struct api *api, struct http_request *request)
{
    struct static_file *file = mem_calloc(1, sizeof(*file));
    struct err err;

    if (file == NULL) {
        err_set(&err, ERR_NOMEM, "out of memory");
        answer_err(request, &err);
        return;
    }
    api->calls++;
    file->api = api;
    file->request = request;
    buf_init(&file->body, STATIC_FILE_MAX);
    op_init(&file->op, static_on_done);
    if (static_begin(file) == 0)
        return;
    answer_err(request, &file->op.err);
    static_end(file);
}
