#include "base/postgres_statement.h"

#include <stdlib.h>

struct statement *statement_create(const char *sql, size_t param_count, const struct str *params)
{
    struct statement *statement = mem_alloc(sizeof(*statement));

    statement->sql = str_dup(str_of(sql));
    statement->param_count = param_count;
    statement->params = mem_alloc(param_count * sizeof(char *));
    for (size_t i = 0; i < param_count; i++)
        statement->params[i] = params[i].ptr != NULL ? str_dup(params[i]) : NULL;
    return statement;
}

void statement_destroy(struct statement *statement)
{
    for (size_t i = 0; i < statement->param_count; i++)
        free(statement->params[i]);
    free(statement->params);
    free(statement->sql);
    free(statement);
}

void statements_init(struct statements *list)
{
    *list = (struct statements){NULL, &list->head, 0};
}

void statements_clear(struct statements *list)
{
    struct statement *statement;
    while ((statement = statements_pop(list)) != NULL)
        statement_destroy(statement);
}

void statements_push(struct statements *list, struct statement *statement)
{
    statement->next = NULL;
    *list->tail = statement;
    list->tail = &statement->next;
    list->count++;
}

struct statement *statements_pop(struct statements *list)
{
    struct statement *statement = list->head;
    if (statement == NULL)
        return NULL;
    list->head = statement->next;
    if (list->head == NULL)
        list->tail = &list->head;
    list->count--;
    return statement;
}

void statements_take_expired(struct statements *list, int64_t now_ms, struct statements *expired)
{
    for (size_t left = list->count; left > 0; left--) {
        struct statement *statement = statements_pop(list);
        statements_push(statement->expires_ms <= now_ms ? expired : list, statement);
    }
}

int64_t statements_next_expiry_ms(const struct statements *list)
{
    int64_t at = INT64_MAX;
    for (const struct statement *s = list->head; s != NULL; s = s->next)
        at = s->expires_ms < at ? s->expires_ms : at;
    return at;
}
