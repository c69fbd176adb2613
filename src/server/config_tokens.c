#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "server/config_reader.h"

/* The tokens of the file beside BFM_API_TOKEN (README.md, "Tokens"). */

static void config_on_token_note(void *arg, bool is_error, const char *text)
{
    struct config_reader *reader = arg;

    if (is_error)
        config_error(reader, "BFM_API_TOKENS_FILE: %s", text);
    else
        config_warn(reader, "BFM_API_TOKENS_FILE: %s", text);
}

static int config_read_tokens_file(struct config_reader *reader, const char *path, struct buf *out)
{
    struct err err = {0};

    if (path == NULL || reader->read(path, out, &err) == 0)
        return 0;
    config_error(reader,
                 "BFM_API_TOKENS_FILE: expected the path of a readable file of at most %d bytes "
                 "(%s)",
                 TOKENS_FILE_MAX, err_text(&err));
    return ERR_INVALID;
}

void config_read_tokens(struct config_reader *reader)
{
    struct config *config = reader->config;
    const char *main_token = config->api_token != NULL ? config->api_token : "";
    struct buf content;

    config->tokens_path = config_text(reader, "BFM_API_TOKENS_FILE", NULL);
    buf_init(&content, TOKENS_FILE_MAX);
    if (config_read_tokens_file(reader, config->tokens_path, &content) == 0 &&
        token_set_make(main_token, config->tokens_path != NULL ? buf_str(&content) : NULL,
                       content.len, config_on_token_note, reader, &config->tokens) == ERR_NOMEM)
        reader->rc = ERR_NOMEM;
    buf_free(&content);
}

void config_check_tokens_file(struct config_reader *reader)
{
    const char *path = reader->config->tokens_path;
    struct stat found;

    if (path != NULL && stat(path, &found) == 0 && (found.st_mode & S_IROTH) != 0)
        config_warn(reader, "BFM_API_TOKENS_FILE: every user of this machine can read the file");
}
