#include "scheduler/volunteer.h"

#include <string.h>

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

enum err sched_volunteer_join(struct sched_store *store,
                              const struct sched_joiner *joiner,
                              sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

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
    return sched_call_done(store, "volunteer_join", &args, fn, ctx);
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
