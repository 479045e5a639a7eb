#include "splitter/manifest.h"

#include <float.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/syn1.h"
#include "splitter/format.h"
#include "splitter/json_fields.h"

static const char *const families[] = {
    [ARCH_GPT2] = "gpt2",
    [ARCH_LLAMA] = "llama",
    [ARCH_QWEN2] = "qwen2",
};

static const char *const ropes[] = {
    [ARCH_ROPE_DEFAULT] = "default",
    [ARCH_ROPE_LINEAR] = "linear",
    [ARCH_ROPE_LLAMA3] = "llama3",
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9');
}

static bool name_ok(const char *name, size_t max)
{
    size_t n = strlen(name);

    if (n < 1 || n > max || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!is_alnum(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

bool manifest_name_ok(const char *name)
{
    return name_ok(name, MANIFEST_NAME_MAX);
}

uint64_t manifest_params(const struct arch *a, uint32_t first, uint32_t end)
{
    uint64_t d = a->d_model, q = (uint64_t)a->n_heads * a->head_dim;
    uint64_t kv = (uint64_t)a->n_kv_heads * a->head_dim;
    uint64_t layer =
        d * (2 * q + 2 * kv) + d * a->d_ff * (a->family == ARCH_GPT2 ? 2 : 3);

    return (end - first) * layer + (end == a->n_layers ? d * a->n_vocab : 0);
}

uint64_t manifest_scratch(const struct arch *a, bool head)
{
    // rows together, rows of the head, bytes for a token of an answer,
    // sequences in a unit with what is kept of each, and slots for KV
    enum { ROWS = 8, HEAD_ROWS = 16, TOKEN = 200, SEQS = 256, SEQ = 256 };
    enum { SLOTS = 64, PAGE = 64, SLOT = 64, PRINT = 16 };
    uint64_t d = a->d_model, q = (uint64_t)a->n_heads * a->head_dim;
    uint64_t qkv = q + 2 * (uint64_t)a->n_kv_heads * a->head_dim;
    uint64_t up = (uint64_t)a->d_ff * (a->family == ARCH_GPT2 ? 1 : 2);
    uint64_t out = up > qkv ? up : qkv, in = d > q ? d : q;
    uint64_t row = d + d / 32 + PRINT, pages = (a->n_ctx + PAGE - 1) / PAGE;

    in = (in > a->d_ff ? in : a->d_ff) + PAGE;
    out = (out > d ? out : d) + PAGE;
    return 4 * ROWS * (d + out + q + a->head_dim) + 3 * ROWS * in + 4 * in +
           pages * (PAGE * 4 + 2 * sizeof(void *) * SLOTS) + SLOTS * SLOT +
           2 * a->n_ctx * (row > TOKEN ? row : TOKEN) + SEQS * SEQ +
           (head ? ((uint64_t)a->n_vocab + PAGE) * (4 * HEAD_ROWS + 12) : 0);
}

// The index of text in names; -1 if it is none of them.
static int name_index(const char *const *names, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] && strcmp(names[i], text) == 0)
            return (int)i;
    return -1;
}

static enum err rope_parse(const struct json_fields *arch, struct arch *a)
{
    struct json_fields f = {json_fields_get(arch, "rope"),
                            MANIFEST_FILE ": rope", arch->why};
    const char *type;
    int kind;
    enum err err;

    if (!json_is_object(f.object))
        return json_fields_fail(arch, ERR_FORMAT, "rope", f.object,
                                "is not an object");
    if ((err = json_fields_text(&f, "type", 16, &type)))
        return err;
    kind = name_index(ropes, sizeof ropes / sizeof *ropes, type);
    if (kind < 0)
        return json_fields_fail(&f, ERR_FORMAT, "type",
                                json_fields_get(&f, "type"), "is not known");
    a->rope = (enum arch_rope)kind;
    err = json_fields_real(&f, "theta", 1.0, 1e12, &a->rope_theta);
    if (!err && a->rope != ARCH_ROPE_DEFAULT)
        err = json_fields_real(&f, "factor", 1.0, 1e6, &a->rope_factor);
    if (err || a->rope != ARCH_ROPE_LLAMA3)
        return err;
    if ((err = json_fields_real(&f, "low_frequency", 1e-3, 1e6,
                                &a->rope_low_freq)) ||
        (err = json_fields_real(&f, "high_frequency", 1e-3, 1e6,
                                &a->rope_high_freq)))
        return err;
    return json_fields_u32(&f, "context", 1, ARCH_CTX_MAX, &a->rope_orig_ctx);
}

static enum err arch_parse(const json_t *object, struct why why, struct arch *a)
{
    struct json_fields f = {object, MANIFEST_FILE ": architecture", why};
    const char *text;
    int family;
    enum err err;

    if (!json_is_object(object))
        return why_fail(why, ERR_FORMAT, "%s: not an object", f.where);
    if ((err = json_fields_text(&f, "family", 16, &text)))
        return err;
    family = name_index(families, sizeof families / sizeof *families, text);
    if (family < 0)
        return json_fields_fail(&f, ERR_FORMAT, "family",
                                json_fields_get(&f, "family"), "is not known");
    a->family = (enum arch_family)family;
    if ((err =
             json_fields_u32(&f, "layers", 1, ARCH_LAYERS_MAX, &a->n_layers)) ||
        (err = json_fields_u32(&f, "width", 1, ARCH_WIDTH_MAX, &a->d_model)) ||
        (err = json_fields_u32(&f, "heads", 1, ARCH_WIDTH_MAX, &a->n_heads)) ||
        (err =
             json_fields_u32(&f, "kv_heads", 1, a->n_heads, &a->n_kv_heads)) ||
        (err = json_fields_u32(&f, "head_size", ARCH_HEAD_MIN, ARCH_HEAD_MAX,
                               &a->head_dim)) ||
        (err = json_fields_u32(&f, "hidden", 1, ARCH_WIDTH_MAX, &a->d_ff)) ||
        (err = json_fields_u32(&f, "vocabulary", 1, ARCH_VOCAB_MAX,
                               &a->n_vocab)) ||
        (err = json_fields_u32(&f, "context", 1, ARCH_CTX_MAX, &a->n_ctx)) ||
        (err =
             json_fields_real(&f, "norm_epsilon", 1e-12, 1.0, &a->norm_eps)) ||
        (err = json_fields_bool_or(&f, "tied_head", false, &a->tied_head)) ||
        (err = json_fields_bool_or(&f, "qkv_bias", false, &a->qkv_bias)))
        return err;
    if (a->n_heads % a->n_kv_heads || a->head_dim % 2 ||
        (uint64_t)a->n_heads * a->head_dim > ARCH_WIDTH_MAX)
        return why_fail(why, ERR_RANGE,
                        "%s: %u heads, %u of them for k and v, of %u do not "
                        "fit together",
                        f.where, a->n_heads, a->n_kv_heads, a->head_dim);
    return a->family == ARCH_GPT2 ? ERR_OK : rope_parse(&f, a);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hash_parse(const char *text, uint8_t out[SHA256_LEN])
{
    if (strlen(text) != MANIFEST_HASH_LEN)
        return false;
    for (size_t i = 0; i < SHA256_LEN; i++) {
        int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static enum err file_parse(const struct json_fields *f,
                           struct manifest_file *file)
{
    const char *name, *hash;
    enum err err;

    if (!json_is_object(f->object))
        return why_fail(f->why, ERR_FORMAT, "%s: not an object", f->where);
    if ((err = json_fields_text(f, "file", MANIFEST_FILE_MAX, &name)) ||
        (err = json_fields_u64(f, "bytes", 1, INT64_MAX, &file->n_bytes)) ||
        (err = json_fields_text(f, "sha256", 64, &hash)))
        return err;
    if (!name_ok(name, MANIFEST_FILE_MAX) || strcmp(name, MANIFEST_FILE) == 0)
        return json_fields_fail(f, ERR_FORMAT, "file",
                                json_fields_get(f, "file"),
                                "is not a file name");
    if (!hash_parse(hash, file->sha256))
        return json_fields_fail(f, ERR_FORMAT, "sha256",
                                json_fields_get(f, "sha256"),
                                "is not a SHA-256 in lower case");
    memcpy(file->name, name, strlen(name) + 1);
    return ERR_OK;
}

// Shard i must begin with the layer that the one before it ended with.
static enum err shard_entry_parse(const struct json_fields *f,
                                  const struct arch *arch, uint32_t layer_first,
                                  struct manifest_shard *shard)
{
    const json_t *layers, *a, *b;
    enum err err;

    if ((err = file_parse(f, &shard->file)) ||
        (err = json_fields_array(f, "layers", 2, 2, &layers)) ||
        (err = json_fields_u64(f, "parameters", 0, INT64_MAX,
                               &shard->n_params)) ||
        (err =
             json_fields_u32(f, "exponent", 0, SYN1_EXP_MAX, &shard->exponent)))
        return err;
    a = json_array_get(layers, 0);
    b = json_array_get(layers, 1);
    if (!json_is_integer(a) || !json_is_integer(b) ||
        json_integer_value(a) != layer_first ||
        json_integer_value(b) <= layer_first ||
        json_integer_value(b) > arch->n_layers)
        return json_fields_fail(f, ERR_RANGE, "layers", layers,
                                "does not continue the shards before it");
    shard->layer_first = layer_first;
    shard->layer_end = (uint32_t)json_integer_value(b);
    return ERR_OK;
}

static enum err shards_parse(const struct json_fields *top, struct manifest *m)
{
    const json_t *list;
    uint32_t layer = 0;
    enum err err = json_fields_array(top, "shards", 1, m->arch.n_layers, &list);

    if (err)
        return err;
    m->n_shards = (uint32_t)json_array_size(list);
    m->shards = calloc(m->n_shards, sizeof *m->shards);
    if (!m->shards)
        return why_fail(top->why, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < m->n_shards; i++) {
        char where[64];
        struct json_fields f = {json_array_get(list, i), where, top->why};

        (void)snprintf(where, sizeof where, "%s: shards[%" PRIu32 "]",
                       MANIFEST_FILE, i);
        err = shard_entry_parse(&f, &m->arch, layer, &m->shards[i]);
        if (err)
            return err;
        layer = m->shards[i].layer_end;
    }
    if (layer != m->arch.n_layers)
        return why_fail(top->why, ERR_RANGE,
                        "%s: shards: they end with layer %u of %u",
                        MANIFEST_FILE, layer, m->arch.n_layers);
    return ERR_OK;
}

static enum err files_parse(const struct json_fields *top, struct manifest *m)
{
    const json_t *list;
    enum err err =
        json_fields_array(top, "files", 0, MANIFEST_FILES_MAX, &list);

    for (uint32_t i = 0; !err && i < json_array_size(list); i++) {
        char where[64];
        struct json_fields f = {json_array_get(list, i), where, top->why};

        (void)snprintf(where, sizeof where, "%s: files[%" PRIu32 "]",
                       MANIFEST_FILE, i);
        err = file_parse(&f, &m->files[i]);
        m->n_files = i + 1;
    }
    return err;
}

// The name of the folder's file i: shards first, then the others.
static const char *name_at(const struct manifest *m, uint32_t i)
{
    return i < m->n_shards ? m->shards[i].file.name
                           : m->files[i - m->n_shards].name;
}

// No two files of the folder may have one name.
static enum err names_check(const struct manifest *m, struct why why)
{
    for (uint32_t i = 0; i < m->n_shards + m->n_files; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(name_at(m, i), name_at(m, k)) == 0)
                return why_fail(why, ERR_FORMAT, "%s: %s is named twice",
                                MANIFEST_FILE, name_at(m, i));
    return ERR_OK;
}

static enum err ends_parse(const struct json_fields *f, struct arch *a)
{
    const json_t *list;
    enum err err = json_fields_array(f, "ends", 0, ARCH_ENDS_MAX, &list);

    for (size_t i = 0; !err && i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);

        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= a->n_vocab)
            return json_fields_fail(f, ERR_RANGE, "ends", id,
                                    "is not a token id");
        a->ends[a->n_ends++] = (uint32_t)json_integer_value(id);
    }
    return err;
}

static enum err version_check(const struct json_fields *f)
{
    uint32_t format, arithmetic;
    enum err err;

    if ((err = json_fields_u32(f, "format", 1, UINT32_MAX, &format)) ||
        (err = json_fields_u32(f, "arithmetic", 1, UINT32_MAX, &arithmetic)))
        return err;
    if (format != FORMAT_VERSION)
        return json_fields_fail(f, ERR_VERSION, "format",
                                json_fields_get(f, "format"),
                                "is not this program's version; split the "
                                "model again");
    if (arithmetic != FORMAT_ARITHMETIC)
        return json_fields_fail(f, ERR_VERSION, "arithmetic",
                                json_fields_get(f, "arithmetic"),
                                "is not this program's version; split the "
                                "model again");
    return ERR_OK;
}

static enum err fields_parse(const struct json_fields *f, struct manifest *m)
{
    const char *name;
    enum err err;

    if ((err = version_check(f)) ||
        (err = json_fields_text(f, "name", MANIFEST_NAME_MAX, &name)))
        return err;
    if (!manifest_name_ok(name))
        return json_fields_fail(f, ERR_FORMAT, "name",
                                json_fields_get(f, "name"),
                                "is not a model's name");
    memcpy(m->name, name, strlen(name) + 1);
    if ((err = arch_parse(json_fields_get(f, "architecture"), f->why,
                          &m->arch)) ||
        (err = ends_parse(f, &m->arch)) || (err = shards_parse(f, m)) ||
        (err = files_parse(f, m)))
        return err;
    return names_check(m, f->why);
}

enum err manifest_parse(const void *buf, size_t len, struct why why,
                        struct manifest *out)
{
    struct json_fields f = {NULL, MANIFEST_FILE, why};
    struct manifest m = {.name = ""};
    json_t *root = NULL;
    enum err err;

    if (len > MANIFEST_BYTES_MAX)
        return why_fail(why, ERR_RANGE, "%s: %zu bytes are too many",
                        MANIFEST_FILE, len);
    err = json_fields_parse(buf, len, MANIFEST_FILE, why, &root);
    if (err)
        return err;
    f.object = root;
    err = fields_parse(&f, &m);
    if (err)
        manifest_release(&m);
    else
        *out = m;
    json_decref(root);
    return err;
}

void manifest_release(struct manifest *m)
{
    free(m->shards);
    *m = (struct manifest){.name = ""};
}

void manifest_hash_text(const uint8_t hash[SHA256_LEN],
                        char out[MANIFEST_HASH_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_LEN; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[MANIFEST_HASH_LEN] = '\0';
}

static json_t *rope_json(const struct arch *a)
{
    switch (a->rope) {
    case ARCH_ROPE_LLAMA3:
        return json_pack("{s:s, s:f, s:f, s:f, s:f, s:I}", "type", "llama3",
                         "theta", a->rope_theta, "factor", a->rope_factor,
                         "low_frequency", a->rope_low_freq, "high_frequency",
                         a->rope_high_freq, "context",
                         (json_int_t)a->rope_orig_ctx);
    case ARCH_ROPE_LINEAR:
        return json_pack("{s:s, s:f, s:f}", "type", "linear", "theta",
                         a->rope_theta, "factor", a->rope_factor);
    case ARCH_ROPE_DEFAULT:
        break;
    }
    return json_pack("{s:s, s:f}", "type", "default", "theta", a->rope_theta);
}

static json_t *arch_json(const struct arch *a)
{
    json_t *rope = a->family == ARCH_GPT2 ? NULL : rope_json(a);

    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:b, s:o*}",
        "family", families[a->family], "layers", (json_int_t)a->n_layers,
        "width", (json_int_t)a->d_model, "heads", (json_int_t)a->n_heads,
        "kv_heads", (json_int_t)a->n_kv_heads, "head_size",
        (json_int_t)a->head_dim, "hidden", (json_int_t)a->d_ff, "vocabulary",
        (json_int_t)a->n_vocab, "context", (json_int_t)a->n_ctx, "norm_epsilon",
        a->norm_eps, "tied_head", (int)a->tied_head, "qkv_bias",
        (int)a->qkv_bias, "rope", rope);
}

static json_t *shard_json(const struct manifest_shard *s)
{
    char hash[MANIFEST_HASH_LEN + 1];

    manifest_hash_text(s->file.sha256, hash);
    return json_pack(
        "{s:s, s:[I, I], s:I, s:s, s:I, s:I}", "file", s->file.name, "layers",
        (json_int_t)s->layer_first, (json_int_t)s->layer_end, "bytes",
        (json_int_t)s->file.n_bytes, "sha256", hash, "parameters",
        (json_int_t)s->n_params, "exponent", (json_int_t)s->exponent);
}

static json_t *file_json(const struct manifest_file *f)
{
    char hash[MANIFEST_HASH_LEN + 1];

    manifest_hash_text(f->sha256, hash);
    return json_pack("{s:s, s:I, s:s}", "file", f->name, "bytes",
                     (json_int_t)f->n_bytes, "sha256", hash);
}

char *manifest_text(const struct manifest *m)
{
    json_t *root = NULL, *ends = json_array(), *shards = json_array();
    json_t *files = json_array();
    char *text = NULL;
    int bad = 0;

    for (uint32_t i = 0; i < m->arch.n_ends; i++)
        bad |= json_array_append_new(ends, json_integer(m->arch.ends[i]));
    for (uint32_t i = 0; i < m->n_shards; i++)
        bad |= json_array_append_new(shards, shard_json(&m->shards[i]));
    for (uint32_t i = 0; i < m->n_files; i++)
        bad |= json_array_append_new(files, file_json(&m->files[i]));
    root = json_pack("{s:i, s:i, s:s, s:o, s:O, s:O, s:O}", "format",
                     FORMAT_VERSION, "arithmetic", FORMAT_ARITHMETIC, "name",
                     m->name, "architecture", arch_json(&m->arch), "ends", ends,
                     "shards", shards, "files", files);
    if (root && !bad)
        text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(DBL_DIG));
    json_decref(root);
    json_decref(files);
    json_decref(shards);
    json_decref(ends);
    return text;
}
