#include "scheduler/volunteer.h"

#include <stdlib.h>
#include <string.h>

#include "redundancy/entry.h"
#include "scheduler/state.h"
#include "scheduler/who.h"

enum { BACKEND_MAX = 32, PRESENCE_LEN = 16 };

bool sched_who_valid(const struct sched_who *who)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

    return sched_text_fits(who->id, 1, SCHED_ID_MAX) &&
           who->id[strspn(who->id, letters)] == '\0';
}

void sched_who_put(struct sched_args *args, const struct sched_who *who)
{
    sched_args_text(args, who->id);
    sched_args_put(args, who->token_hash, sizeof who->token_hash);
}

struct joining {
    struct redun_entry policy;
    sched_entry_fn *fn;
    void *ctx;
};

static enum err entry_read(const redisReply *reply,
                           const struct redun_entry *policy,
                           struct sched_entry *out)
{
    struct sched_walk walk = sched_walk_over(reply);
    const char *word = sched_walk_text(&walk);
    struct sched_entry entry = {0};

    if (strcmp(word, "exists") == 0)
        return ERR_EXISTS;
    if (strcmp(word, "toll") == 0) {
        entry.kind = SCHED_ENTRY_TOLL;
        entry.bits = redun_entry_bits(policy, sched_walk_u32(&walk));
        entry.now_ms = sched_walk_i64(&walk);
    } else if (strcmp(word, "closed") == 0 || strcmp(word, "crowded") == 0) {
        entry.kind = word[1] == 'l' ? SCHED_ENTRY_CLOSED : SCHED_ENTRY_CROWDED;
        entry.retry_ms = sched_walk_i64(&walk);
    } else if (strcmp(word, "ok") != 0) {
        return ERR_FORMAT;
    }
    if (walk.bad)
        return ERR_FORMAT;
    *out = entry;
    return ERR_OK;
}

static void on_joined(enum err err, const redisReply *reply, void *ctx)
{
    struct joining *joining = ctx;
    struct sched_entry entry;

    if (!err)
        err = entry_read(reply, &joining->policy, &entry);
    joining->fn(err, err ? NULL : &entry, joining->ctx);
    free(joining);
}

enum err sched_volunteer_join(struct sched_store *store,
                              const struct sched_joiner *joiner,
                              sched_entry_fn *fn, void *ctx)
{
    struct redun_entry policy = {store->policy.new_free,
                                 store->policy.new_bits};
    struct sched_args args = {0};
    struct joining *joining;
    enum err err;

    if (!sched_who_valid(&joiner->who) ||
        !sched_text_fits(joiner->name, 0, SCHED_NAME_MAX) ||
        !sched_text_fits(joiner->backend, 1, BACKEND_MAX) ||
        !sched_text_fits(joiner->block, 0, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_who_put(&args, &joiner->who);
    sched_args_hex(&args, joiner->account, sizeof joiner->account);
    sched_args_text(&args, joiner->name);
    sched_args_text(&args, joiner->backend);
    sched_args_u64(&args, joiner->kernel_class);
    sched_args_u64(&args, joiner->memory);
    sched_args_u64(&args, joiner->threads);
    sched_args_text(&args, joiner->block);
    sched_args_text(&args, joiner->referee ? "1" : "0");
    sched_args_text(&args, store->policy_text);
    sched_args_u64(&args, redun_entry_reach(&policy, joiner->paid_bits));
    sched_args_i64(&args, joiner->paid_until_ms);
    joining = malloc(sizeof *joining);
    if (!joining) {
        sched_args_release(&args);
        return ERR_NOMEM;
    }
    *joining = (struct joining){policy, fn, ctx};
    err = sched_link_call(store->link, "volunteer_join", &args, on_joined,
                          joining);
    if (err)
        free(joining);
    return err;
}

enum err sched_volunteer_progress(struct sched_store *store,
                                  const struct sched_who *who,
                                  const uint8_t *units, size_t n,
                                  uint32_t tokens, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_who_valid(who) || n > SYN1_HELD_MAX)
        return ERR_RANGE;
    sched_who_put(&args, who);
    sched_args_text(&args, store->policy_text);
    sched_args_u64(&args, tokens);
    sched_args_put(&args, units, n * SYN1_ID_LEN);
    return sched_call_done(store, "volunteer_progress", &args, fn, ctx);
}

enum err sched_volunteer_leave(struct sched_store *store,
                               const struct sched_who *who, sched_done_fn *fn,
                               void *ctx)
{
    struct sched_args args = {0};

    if (!sched_who_valid(who))
        return ERR_RANGE;
    sched_who_put(&args, who);
    return sched_call_done(store, "volunteer_leave", &args, fn, ctx);
}

static enum err presence(struct sched_store *store, const char *function,
                         const struct sched_who *who, const uint8_t *id,
                         sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_who_valid(who))
        return ERR_RANGE;
    sched_who_put(&args, who);
    sched_args_text(&args, store->policy_text);
    sched_args_put(&args, id, PRESENCE_LEN);
    return sched_call_done(store, function, &args, fn, ctx);
}

enum err sched_volunteer_present(struct sched_store *store,
                                 const struct sched_who *who,
                                 const uint8_t id[16], sched_done_fn *fn,
                                 void *ctx)
{
    return presence(store, "volunteer_present", who, id, fn, ctx);
}

enum err sched_volunteer_lost(struct sched_store *store,
                              const struct sched_who *who, const uint8_t id[16],
                              sched_done_fn *fn, void *ctx)
{
    return presence(store, "volunteer_lost", who, id, fn, ctx);
}
